/* factory.h - the verbs below `causeway factory`, a file a family; cmd_factory.c has their table. argv[0] is the verb; cli.h says what they return. */
#ifndef CW_CLI_FACTORY_FACTORY_H
#define CW_CLI_FACTORY_FACTORY_H

int cw_factory_import(int argc, char **argv);  /* cmd_import.c */
int cw_factory_batches(int argc, char **argv); /* cmd_batch.c */
int cw_factory_batch(int argc, char **argv);
int cw_factory_product(int argc, char **argv); /* cmd_product.c */
int cw_factory_query(int argc, char **argv);   /* cmd_query.c */
int cw_factory_show(int argc, char **argv);
int cw_factory_stock(int argc, char **argv);   /* cmd_stats.c */
int cw_factory_stats(int argc, char **argv);
int cw_factory_void(int argc, char **argv);    /* cmd_void.c */
int cw_factory_reclaim(int argc, char **argv);
int cw_factory_export(int argc, char **argv);  /* cmd_export.c */
int cw_factory_audit(int argc, char **argv);   /* cmd_audit.c */
int cw_factory_devices(int argc, char **argv); /* cmd_devices.c */
int cw_factory_order(int argc, char **argv);   /* cmd_order.c */
int cw_factory_orders(int argc, char **argv);
int cw_factory_request(int argc, char **argv); /* cmd_request.c; exit statuses up to 4 */
int cw_factory_station(int argc, char **argv); /* cmd_station.c */
int cw_factory_backup(int argc, char **argv);  /* cmd_backup.c */
int cw_factory_restore(int argc, char **argv);

#endif
