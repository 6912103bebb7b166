/*
 * clients.h - names without pre-registration: up to five physical devices share one DeviceName, each with a
 * ClientID and a DeviceToken of its own, issued by a registration with the product's secret.
 *
 * The plain case is one client: its session is the device's own, as with a secret, and nothing else knows of
 * clients. Every further one gets a *session of its own under the name*: a struct cloud_device that is in no map
 * and no list, whose `name_of` is the device. Link, subscriptions, kept messages and rates are the session's. What
 * was reported, relations, calls and the log are the device's: rules are handed the device, never the session. A
 * message to the device goes to each session, an answer to the one that asked (send.c).
 *
 * Switching bars all clients but one, clearing bars all. Who is barred stays on the list and counts among the five,
 * or a copied product secret would get in again at once; resetting or deleting the device forgets them all.
 * Tokens are compared in constant time and shown to nobody but the device that registers.
 */
#ifndef CW_CLOUD_CLIENTS_H
#define CW_CLOUD_CLIENTS_H

#include "cloud/core/cloud.h"

#define CLOUD_CLIENTS_MAX 5u

struct cloud_client {
	char id[24], token[40];
	int64_t registered_ms, first_ms, last_ms; /* wall clock; of connections, 0: never */
	int barred;
	struct cloud_device *session; /* the device itself or a session of its own; NULL: not since it was made or barred */
};

/* All clients of one name; hangs on its device. */
struct cloud_clients {
	struct cw_list link; /* in cw_cloud.client_names */
	struct cloud_device *device;
	unsigned count;
	struct cloud_client client[CLOUD_CLIENTS_MAX];
};

/*
 * Register one more physical device under r->dn, which is made if it does not exist. `instance`: the instanceId it
 * sent, NULL: none. 200 and the client, or the platform's code: those of cw_cloud_register(), 460 for another
 * instance or a product of sub-devices, 6280 for an illegal name, 429 for the sixth client and when the product
 * is full.
 */
int cw_cloud_client_register(struct cw_cloud *c, const struct cloud_registration *r, const struct cloud_text *instance,
                             struct cloud_client **ret_client);

/*
 * Login by token. 0 and the session to hand to cw_cloud_link_up(); or 4 (no such client, wrong token), 5 (barred,
 * device disabled), 3 (out of memory), the codes of CONNACK, with a reason (static). `name`, the device if it is
 * known, is for cw_cloud_device_refused().
 */
struct cloud_client_login {
	struct cloud_text pk, dn, client_id, token; /* lent */
	struct cloud_device *name, *session;
	const char *reason;
};
int cw_cloud_client_login(struct cw_cloud *c, struct cloud_client_login *login);

/* Let this client alone connect from now on. CW_ENOENT. */
int cw_cloud_client_keep(struct cw_cloud *c, struct cloud_device *d, const char *client_id);
/* Let none of them connect any more. */
void cw_cloud_client_clear(struct cw_cloud *c, struct cloud_device *d);
/* The device goes or starts anew: none of them ever was. */
void cw_cloud_clients_forget(struct cw_cloud *c, struct cloud_device *d);
/* What of them survives a restart, for save.c: all but the sessions of their own. */
json_t *cw_cloud_clients_save(struct cw_cloud *c, const struct cloud_device *d);
int cw_cloud_clients_load(struct cw_cloud *c, struct cloud_device *d, const json_t *j);

/* [{clientId, registered, first, last, connected, barred}], times as Unix milliseconds or null; without tokens. */
json_t *cw_cloud_clients_list(const struct cloud_device *d);
/* [{productKey, deviceName, clients}] of every name with more than one ClientID; `p` NULL: of all products. */
json_t *cw_cloud_client_risks(const struct cw_cloud *c, const struct cloud_product *p);

/* The device that a session belongs to: itself in the plain case. */
static inline struct cloud_device *cw_cloud_name_of(struct cloud_device *session)
{
	return session->name_of != NULL ? session->name_of : session;
}
/* The session of `d` on this link: of its owner or of a member. NULL: it has none here. */
struct cloud_device *cw_cloud_session_on(const struct cloud_link *l, struct cloud_device *d);
/* Sessions of `d` besides its own, one after the other; NULL behind the last. `at` starts with 0. */
struct cloud_device *cw_cloud_next_session(const struct cloud_device *d, unsigned *at);

#endif
