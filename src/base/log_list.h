/*
 * log_list.h - every log id: symbol, level, id, lines in ten seconds (0: no
 * limit), and what it means and what to do. An id is never renamed. Sorted by module.
 */
#ifndef CW_BASE_LOG_LIST_H
#define CW_BASE_LOG_LIST_H

#define CW_LOGS(X) \
	CW_LOGS_DAEMON(X) \
	CW_LOGS_NET(X) \
	CW_LOGS_PLUGIN(X) \
	CW_LOGS_BRIDGE(X) \
	CW_LOGS_UPSTREAM(X) \
	CW_LOGS_PROVISION(X) \
	CW_LOGS_CLOUD(X) \
	CW_LOGS_FACTORY(X) \
	CW_LOGS_FIELD(X)

#define CW_LOGS_DAEMON(X) \
	X(daemon_starting, INFO, "daemon.starting", 0, "The process starts; version, process id and state directory follow.") \
	X(daemon_ready, INFO, "daemon.ready", 0, "All listeners are bound and the required upstreams were started.")          \
	X(daemon_stopping, INFO, "daemon.stopping", 0, "A stop was asked for; queues are drained up to stopTimeout.")         \
	X(daemon_stopped, INFO, "daemon.stopped", 0, "Everything is closed; the process ends.")                               \
	X(daemon_failed, ERROR, "daemon.failed", 0, "The start failed; the text says why.")                                   \
	X(daemon_reload, INFO, "daemon.reload", 0, "A reload finished; the fields count what changed.")                       \
	X(daemon_upstreams_settled, INFO, "daemon.upstreams_settled", 0, "Devices that a reload sent to other upstreams are there; what was replaced has ended.") \
	X(daemon_reload_failed, ERROR, "daemon.reload_failed", 0, "A reload was refused; nothing changed. Correct the file and reload again.") \
	X(daemon_limit, INFO, "daemon.limit", 0, "The limit of open files, and how many connections fit into it.")            \
	X(state_failed, ERROR, "state.failed", 10, "What a decoder wants kept could not be written; the disk may be full. Memory still has it.") \
	X(conf_warning, WARN, "conf.warning", 0, "Something in the configuration is accepted but deserves a look.")

#define CW_LOGS_NET(X) \
	X(net_listening, INFO, "net.listening", 0, "A listener is bound.")                                                    \
	X(net_accept_failed, ERROR, "net.accept_failed", 10, "accept() failed; usually out of descriptors.")                  \
	X(net_refused, WARN, "net.refused", 10, "A connection was refused at the door; reason says by which limit or list.")  \
	X(net_proxy_bad, WARN, "net.proxy_bad", 10, "A PROXY protocol header was expected and something else came; the connection is closed.") \
	X(net_tls_failed, WARN, "net.tls_failed", 10, "A TLS handshake failed; reason is the library's text.")                \
	X(net_connection_up, INFO, "net.connection_up", 20, "An outgoing connection, or a serial line, is open.")             \
	X(net_connection_down, WARN, "net.connection_down", 20, "It has ended; reason says why. It is opened again.")         \
	X(net_connection_failed, WARN, "net.connection_failed", 20, "It could not be opened; it is tried again. The same reason is logged once in ten minutes.") \
	X(net_serial, WARN, "net.serial", 10, "A serial line works, but its driver did not take a setting.")                  \
	X(net_closed, DEBUG, "net.closed", 0, "A device connection has ended; reason says why.")

#define CW_LOGS_PLUGIN(X) \
	X(plugin_loaded, INFO, "plugin.loaded", 0, "A protocol plugin was loaded.")                                           \
	X(plugin_debug, DEBUG, "plugin.debug", 0, "A decoder's own line about one device, for debugging.")                    \
	X(plugin_line, INFO, "plugin.line", 50, "A decoder's own line about one device.")                                     \
	X(plugin_warning, WARN, "plugin.warning", 50, "A decoder's own warning about one device.")                            \
	X(frame_refused, WARN, "frame.refused", 20, "A decoder refused a frame; the session stays.")                          \
	X(frame_noise, WARN, "frame.noise", 20, "More bytes than maxNoise belonged to no frame; the connection is closed.")   \
	X(frame_oversize, WARN, "frame.oversize", 20, "A frame larger than the protocol's limit; skipped, the session stays.") \
	X(plugin_slow, WARN, "plugin.slow", 10, "A decoder used more than its time budget for one frame.")                    \
	X(plugin_stuck, ERROR, "plugin.stuck", 0, "A decoder did not return for decoderTimeout; the text names device and frame. The process aborts, for a plugin in it cannot be interrupted.") \
	X(plugin_host_started, INFO, "plugin.host_started", 0, "A plugin host, the process of an isolated protocol, is ready.") \
	X(plugin_host_failed, ERROR, "plugin.host_failed", 10, "A plugin host could not be started; the text says why.") \
	X(plugin_host_died, ERROR, "plugin.host_died", 0, "A plugin host crashed, hung or was ended; the fields name the device and the frame it worked on, where it is kept, and whom it served. It is started again, the other connections stay.") \
	X(plugin_host_open, WARN, "plugin.host_open", 10, "A plugin host runs without seccomp; the text says why. isolation.sandbox = required refuses that.") \
	X(plugin_out, ERROR, "plugin.out_of_service", 0, "A plugin host died too often; its protocol is refused on this worker for isolation.retry.") \
	X(plugin_back, NOTE, "plugin.back_in_service", 0, "A protocol that was taken out of service is tried again.") \
	X(plugin_poison_failed, ERROR, "plugin.poison_failed", 10, "The frame that ended a plugin host could not be written to a file.") \
	X(plugin_misbehaved, ERROR, "plugin.misbehaved", 10, "A decoder broke a rule of the ABI; the session is closed.")

#define CW_LOGS_BRIDGE(X) \
	X(device_unknown, WARN, "device.unknown", 20, "No identity source knows this originalIdentity; make it known to one of those in identity.order.") \
	X(identity_skipped, WARN, "identity.skipped", 50, "An entry of devices.conf cannot be used; the text says where and why. The others are.") \
	X(identity_later, WARN, "identity.later", 20, "An identity source could not answer; the device is asked to come again. The text says why.") \
	X(identity_source, WARN, "identity.source", 10, "An identity source has failed, or is well again; the text says what to do.") \
	X(identity_changed, INFO, "identity.changed", 50, "A device's entry has gone or changed in its source; its connection is closed.") \
	X(identity_edited, INFO, "identity.edited", 50, "An operator has changed the identity table.")                        \
	X(pending_dropped, WARN, "pending.dropped", 10, "Frames of a device that no source knows were kept and had to go; the text says why.") \
	X(pending_replay, INFO, "pending.replay", 50, "A device whose frames were kept is known now; they are decoded and delivered.") \
	X(pending_lost, WARN, "pending.lost", 0, "The gateway stops while frames of unknown devices are kept, or are not delivered yet.") \
	X(members_limit, WARN, "members.limit", 10, "A connection has more devices under one prefix than may be attached to it.") \
	X(device_attached, DEBUG, "device.attached", 0, "A session is now the way to this device.")                           \
	X(device_superseded, INFO, "device.superseded", 20, "A second connection took the identity; the older one is closed.") \
	X(device_stranded, WARN, "device.stranded", 20, "A device has to let go of its upstream and cannot move to another; its session ends.") \
	X(device_contested, WARN, "device.contested", 10, "Two devices keep taking one identity from each other; both are slowed down.") \
	X(device_online, INFO, "device.online", 200, "The platform accepted the device's login.")                             \
	X(device_offline, INFO, "device.offline", 200, "The device is no longer online at the platform.")                     \
	X(device_refused, WARN, "device.refused", 50, "The platform refused the device; code and text are the platform's.")   \
	X(device_foreign, WARN, "device.foreign", 20, "A frame carried another identity than its session; dropped.")          \
	X(firmware_failed, WARN, "firmware.failed", 20, "The file of an upgrade did not come or is not what was announced; the platform is told, the device never hears of it.") \
	X(record_refused, WARN, "record.refused", 50, "The platform refused a record; code and text are the platform's. The device is answered positively.") \
	X(record_reply, DEBUG, "record.reply", 0, "The platform's reply to a record that carried a request id.")              \
	X(attachment_failed, ERROR, "attachment.failed", 10, "An attachment could not be written; the record that names it was sent all the same.") \
	X(command_settled, INFO, "command.settled", 200, "A command has ended: result answered, refused, offline or timed_out.")

#define CW_LOGS_UPSTREAM(X) \
	X(upstream_connecting, INFO, "upstream.connecting", 20, "A connection to the platform is being made.")                \
	X(upstream_leaving, NOTE, "upstream.leaving", 0, "No route leads to this upstream any more; it stops when its devices have moved to others.") \
	X(upstream_gone, NOTE, "upstream.gone", 0, "An upstream that was removed or replaced has ended.")                     \
	X(upstream_up, INFO, "upstream.up", 0, "The bridge is logged in at the platform.")                                    \
	X(upstream_down, WARN, "upstream.down", 0, "The connection to the platform is lost or was refused; retry says when the next attempt is made.") \
	X(upstream_reply_failed, WARN, "upstream.reply_failed", 50, "The platform answered a request with an error code.")    \
	X(upstream_twin, WARN, "upstream.twin", 0, "The platform closes the connection right after each login: another program uses the same bridge identity.") \
	X(upstream_message, DEBUG, "upstream.message", 0, "The platform took a message; messageId is the number it gave it, id is ours.") \
	X(upstream_one_way, INFO, "upstream.one_way", 0, "This kind of upstream has no downlink: a command for a device behind it ends as refused.") \
	X(upstream_relation_kept, WARN, "upstream.relation_kept", 20, "A removed device's relation to the bridge could not be deleted at the platform; the text says what to do.") \
	X(upstream_odd, WARN, "upstream.odd", 20, "The platform sent something that is not understood; dropped.")             \
	X(upstream_absent, INFO, "upstream.absent", 0, "Devices of a large bridge that were online before a restart did not come back within returnTime; the platform is told.") \
	X(upstream_plain, WARN, "upstream.plain", 0, "The endpoint is without TLS: what devices report and the platform commands can be read and changed on the way.") \
	X(upstream_named, NOTE, "upstream.named", 0, "The platform has told the bridge its names, or those kept from before are of no use any more.") \
	X(upstream_config, NOTE, "upstream.config", 0, "The platform holds a remote configuration for this gateway; it is noted, not applied.") \
	X(upstream_log_switch, NOTE, "upstream.log_switch", 0, "The platform switched posting of this gateway's log on or off.") \
	X(upstream_pack_split, WARN, "upstream.pack_split", 20, "The platform refused a pack post; it goes again in halves until the bad reading is alone.") \
	X(upstream_device_failed, WARN, "upstream.device_failed", 20, "A device could not log in at the platform, which did not refuse it; it is tried again.") \
	X(upstream_no_pull, WARN, "upstream.no_pull", 0, "The platform lets no commands be fetched over CoAP; devices behind this upstream get none.")

#define CW_LOGS_PROVISION(X) \
	X(provision_device, NOTE, "provision.device", 0, "popClientProfile found or created the device that this gateway is.") \
	X(provision_becomes, WARN, "provision.becomes", 0, "popClientProfile is in force: the text says as which device this machine logs in and how many devices will be tied to it. On a developer's machine that is rarely wanted.") \
	X(provision_waiting, WARN, "provision.waiting", 10, "A certificate could not be obtained; the text says why and what to do. It is tried again.") \
	X(provision_lost, ERROR, "provision.lost", 10, "A certificate was asked for and may have been given out, but is not stored. The platform gives it once; the text has the way out.") \
	X(provision_obtained, NOTE, "provision.obtained", 100, "A certificate was obtained and is on disk; it is not asked for again.") \
	X(provision_refused, WARN, "provision.refused", 20, "No certificate for this identity by a rule; the text says why and what to do. Asked again after retry.") \
	X(provision_name, WARN, "provision.name", 20, "A rule makes no DeviceName out of this identity that the platform takes; the device stays unknown.")

#define CW_LOGS_CLOUD(X) \
	X(cloud_connect, INFO, "cloud.connect", 500, "A client's CONNECT was accepted.")                                      \
	X(cloud_refused, WARN, "cloud.refused", 200, "A client's login was refused; code is the channel's (CONNACK, /auth), reason says why.") \
	X(cloud_closed, INFO, "cloud.closed", 500, "A client's connection has ended.")                                        \
	X(cloud_device, INFO, "cloud.device", 500, "A device or sub-device came online or went offline.")                     \
	X(cloud_batch, INFO, "cloud.batch", 100, "A batch of devices was checked or created, or could not be.")               \
	X(cloud_state, ERROR, "cloud.state", 10, "The emulator's state file cannot be written; what changed stays in memory and is tried again.") \
	X(cloud_openapi_refused, INFO, "cloud.openapi_refused", 100, "A management call was refused before any service saw it; reason is the platform's code.") \
	X(cloud_model, DEBUG, "cloud.model", 100, "A value or event of a device breaks its product's model; code says how.")  \
	X(cloud_script, WARN, "cloud.script", 20, "A product's script failed; the API shows the input.")                      \
	X(cloud_dropped, WARN, "cloud.dropped", 100, "A message was not taken; reason says which rule of the platform it breaks.")

#define CW_LOGS_FACTORY(X) \
	X(factory_listening, INFO, "factory.listening", 0, "A listener of the factory's server is bound; front says for whom.") \
	X(factory_answer, DEBUG, "factory.answer", 0, "A station was answered; the audit log in the database keeps the same for good.") \
	X(factory_refused, WARN, "factory.refused", 20, "A request of a station was refused; the text is what it was told.") \
	X(factory_database_down, ERROR, "factory.database_down", 0, "The database takes no transactions; stations are answered BUSY until it does. The text says why.") \
	X(factory_database_up, NOTE, "factory.database_up", 0, "The database takes transactions again.") \
	X(factory_low, WARN, "factory.low", 0, "Fewer certificates of a product or batch are free than `low` says; import or order more.") \
	X(factory_empty, ERROR, "factory.empty", 0, "No certificate of a product or batch is free any more; stations that need one are refused.") \
	X(factory_refilled, NOTE, "factory.refilled", 0, "There are enough free certificates of a product or batch again.") \
	X(factory_reclaimed, NOTE, "factory.reclaimed", 0, "Allocations without report went back to the stock, because their batch's lease was over.") \
	X(factory_upkeep, WARN, "factory.upkeep", 6, "The server could not look after leases and stock; the text says why. It tries again.") \
	X(factory_login, INFO, "factory.login", 50, "An operator logged in at the page.") \
	X(factory_login_refused, WARN, "factory.login_refused", 10, "A name and token at the page, or a token at its API, are no operator's. Addresses that go on so are slowed down.") \
	X(factory_restart, WARN, "factory.restart", 0, "A reload changed settings that only a restart can take over; the text names them.")

/* causeway-factory: what devices in the field and gateways ask. */
#define CW_LOGS_FIELD(X) \
	X(field_registered, NOTE, "field.registered", 20, "A device in the field has its certificate from the platform now, and it is stored.") \
	X(field_failed, WARN, "field.failed", 20, "A request of a device in the field or of a gateway could not be served; the text says why and what to do.") \
	X(field_denied, WARN, "field.denied", 20, "A request of a device in the field or of a gateway was refused; the text is what it was told.")

#endif
