/*
 * stat_list.h - the one list of all counters and gauges. The enum, the names in
 * `causeway stats` and the reference come from here.
 */
#ifndef CW_BASE_STAT_LIST_H
#define CW_BASE_STAT_LIST_H

#define CW_STATS(X) \
	CW_STATS_NET(X) \
	CW_STATS_PLUGIN(X) \
	CW_STATS_IDENTITY(X) \
	CW_STATS_FIELD(X) \
	CW_STATS_PENDING(X) \
	CW_STATS_BRIDGE(X) \
	CW_STATS_FETCH(X) \
	CW_STATS_PROVISION(X) \
	CW_STATS_FIRMWARE(X) \
	CW_STATS_UPSTREAM(X) \
	CW_STATS_FACTORY(X)

#define CW_STATS_NET(X) \
	X(GAUGE, net, connections, "Device connections open now")                                                             \
	X(COUNTER, net, accepted, "Device connections accepted")                                                              \
	X(GAUGE, net, dialled, "Outgoing connections and serial lines open now")                                              \
	X(COUNTER, net, dials, "Attempts to open an outgoing connection or a serial line")                                    \
	X(COUNTER, net, dials_failed, "Attempts of these that failed")                                                        \
	X(COUNTER, net, dialled_lost, "Outgoing connections and serial lines that ended, to be opened again")                 \
	X(COUNTER, net, closed, "Device connections ended")                                                                   \
	X(COUNTER, net, refused_connections, "Connections refused: listener is full")                                         \
	X(COUNTER, net, refused_source, "Connections refused: too many from one source address")                              \
	X(COUNTER, net, refused_rate, "Connections refused: accept rate reached")                                             \
	X(COUNTER, net, refused_list, "Connections refused by allow or deny list")                                            \
	X(COUNTER, net, refused_descriptors, "Connections refused: no descriptors left")                                      \
	X(COUNTER, net, accept_failed, "accept() calls that failed")                                                          \
	X(COUNTER, net, proxy_bad, "Connections closed: PROXY protocol header missing or malformed")                          \
	X(COUNTER, net, tls_failed, "TLS handshakes that failed")                                                             \
	X(COUNTER, net, bytes_in, "Bytes read from devices")                                                                  \
	X(COUNTER, net, bytes_out, "Bytes written to devices")                                                                \
	X(COUNTER, net, closed_identify, "Connections closed: not identified in time")                                        \
	X(COUNTER, net, closed_idle, "Connections closed: idle too long")                                                     \
	X(COUNTER, net, closed_bytes, "Connections closed: bytesPerConnection reached, the peer does not read")               \
	X(COUNTER, net, paused, "Times a connection was no longer read because a queue was full")                             \
	X(COUNTER, net, datagrams_in, "UDP datagrams read")                                                                   \
	X(COUNTER, net, datagrams_dropped, "UDP datagrams dropped: no session could be made")

#define CW_STATS_PLUGIN(X) \
	X(COUNTER, plugin, frames_in, "Frames cut from the stream and handed to a decoder")                                   \
	X(COUNTER, plugin, frames_malformed, "Frames refused by a decoder; the session stays")                                \
	X(COUNTER, plugin, noise_bytes, "Bytes that belonged to no frame")                                                    \
	X(COUNTER, plugin, closed_noise, "Connections closed: more noise than maxNoise")                                      \
	X(COUNTER, plugin, closed_partial, "Connections closed: an unfinished frame over the limit")                          \
	X(COUNTER, plugin, slow_calls, "Decoder calls over the time budget")                                                  \
	X(COUNTER, plugin, refused_calls, "Host calls refused: bad argument, bad record or over a cap")                       \
	X(COUNTER, plugin, records, "Records emitted by decoders")                                                             \
	X(COUNTER, plugin, host_starts, "Plugin hosts started (processes of isolated protocols)")                             \
	X(COUNTER, plugin, host_deaths, "Plugin hosts that crashed, hung or were ended")                                      \
	X(COUNTER, plugin, host_hangs, "Of these, those that did not come back in time")                                      \
	X(COUNTER, plugin, poisonous_frames, "Frames that ended a plugin host")                                               \
	X(COUNTER, plugin, taken_out, "Times a protocol was taken out of service on a worker because its host kept dying")    \
	X(COUNTER, plugin, refused_out, "Connections refused because their protocol is out of service")

#define CW_STATS_IDENTITY(X) \
	X(COUNTER, identity, source_failed, "Questions that an identity source could not answer")                             \
	X(COUNTER, identity, stale, "Times an older answer stood in for a source that failed")                                \
	X(COUNTER, identity, table_damaged, "Rows of the identity table that could not be decrypted")                         \
	X(GAUGE, identity, table_entries, "Entries of the identity table (SQLite)")                                           \
	X(COUNTER, identity, http_asked, "Identity look-ups sent over HTTP")                                                  \
	X(COUNTER, identity, http_failed, "Identity look-ups over HTTP without a usable answer")                              \
	X(COUNTER, identity, factory_asked, "Identity look-ups in the stock of the production line")                          \
	X(COUNTER, identity, factory_failed, "Identity look-ups in that stock that it could not answer")

/* causeway-factory: what devices in the field and gateways ask. */
#define CW_STATS_FIELD(X) \
	X(COUNTER, field, asked, "Requests of devices in the field for their certificate")                                    \
	X(COUNTER, field, given, "Of these: answered with a certificate")                                                     \
	X(COUNTER, field, bad, "Of these: without a deviceId that could be one (400)")                                        \
	X(COUNTER, field, illegal, "Of these: the deviceId was never imported (403 ILLEGAL_DEVICE)")                          \
	X(COUNTER, field, unauthorized, "Requests of devices and gateways without the proof that is asked for (401)")         \
	X(COUNTER, field, limited, "Requests of devices and gateways that came too often (429)")                              \
	X(COUNTER, field, platform_refused, "Requests of devices that the platform would not register (502)")                 \
	X(COUNTER, field, unavailable, "Requests of devices and gateways that could not be served now (503)")                 \
	X(COUNTER, field, registered, "Devices in the field registered on the platform, or found there")                      \
	X(GAUGE, field, registering, "Registrations under way now")                                                           \
	X(COUNTER, field, lookups, "Look-ups of identities by gateways")                                                      \
	X(COUNTER, field, lookups_known, "Of these: answered with a certificate")

#define CW_STATS_PENDING(X) \
	X(GAUGE, pending, identities, "Unknown devices of which frames are kept (unknown = keep)")                            \
	X(GAUGE, pending, frames, "Frames of unknown devices that are kept, or on their way since their device is known")     \
	X(GAUGE, pending, bytes, "Memory they take")                                                                          \
	X(COUNTER, pending, kept, "Frames of unknown devices set aside")                                                      \
	X(COUNTER, pending, delivered, "Kept frames decoded later, their records settled")                                    \
	X(COUNTER, pending, dropped, "Kept frames dropped: a limit, pending.time, or an operator")                            \
	X(COUNTER, pending, lost, "Kept frames of which a record was given up on its way")

#define CW_STATS_BRIDGE(X) \
	X(GAUGE, bridge, devices_known, "Devices in the identity sources held in memory")                                     \
	X(GAUGE, bridge, devices_attached, "Devices with a session")                                                          \
	X(GAUGE, bridge, devices_online, "Devices online at the platform")                                                    \
	X(COUNTER, bridge, identify_ok, "Identities found")                                                                   \
	X(COUNTER, bridge, identify_unknown, "Identities that no source knows")                                               \
	X(COUNTER, bridge, identify_none, "Identities that may be unknown (optional ones of a decoder) and were")              \
	X(COUNTER, bridge, members_asked, "Times a decoder asked for all devices whose identity begins with a text")          \
	X(COUNTER, bridge, members_attached, "Devices attached because of that")                                              \
	X(COUNTER, bridge, entries_skipped, "Entries of devices.conf skipped because a key is missing or wrong")              \
	X(COUNTER, bridge, devices_moved, "Devices moved to another upstream by a reload")                                    \
	X(COUNTER, bridge, superseded, "Sessions superseded by a newer connection of the same identity")                      \
	X(COUNTER, bridge, foreign_identity, "Frames dropped because they carry another identity than the session")           \
	X(COUNTER, bridge, records_unidentified, "Records dropped because their session has no device yet")                   \
	X(COUNTER, bridge, records_duplicate, "Records recognised as duplicates and not published again")                     \
	X(COUNTER, bridge, records_busy, "Records not taken because a queue was full; reading stopped")                       \
	X(COUNTER, bridge, records_delivered, "Records confirmed by the platform")                                            \
	X(COUNTER, bridge, records_refused, "Records refused by the platform for good")                                       \
	X(COUNTER, bridge, records_pending, "Records whose device was told 'pending' because the platform was away")          \
	X(COUNTER, bridge, records_lost, "Records given up (the process stopped, or memory was short)")                       \
	X(COUNTER, bridge, settles_late, "Settles whose session had gone")                                                    \
	X(COUNTER, bridge, times_corrected,                                                                                   \
	  "Records whose device time was out of range and replaced by the arrival time")                                      \
	X(COUNTER, bridge, commands_accepted, "Commands accepted from the platform")                                          \
	X(COUNTER, bridge, commands_answered, "Commands answered by the device")                                              \
	X(COUNTER, bridge, commands_refused, "Commands refused by decoder, device or queue limit")                            \
	X(COUNTER, bridge, commands_offline, "Commands for devices without a session")                                        \
	X(COUNTER, bridge, commands_timed_out, "Commands without an answer in time")                                          \
	X(COUNTER, bridge, commands_repeated, "Commands repeated by the platform and not run twice")                          \
	X(COUNTER, bridge, reloads, "Reloads that took effect")                                                               \
	X(COUNTER, bridge, reloads_failed, "Reloads refused; nothing changed")

#define CW_STATS_FETCH(X) \
	X(COUNTER, fetch, calls, "HTTP calls begun: logins, registration, look-ups, firmware")                                \
	X(COUNTER, fetch, failed, "HTTP calls that ended without an answer")

#define CW_STATS_PROVISION(X) \
	X(COUNTER, provision, asked, "Certificates asked of the platform by rules")                                           \
	X(COUNTER, provision, obtained, "Certificates obtained by rules and stored")                                          \
	X(COUNTER, provision, refused, "Certificates that the platform refused to a rule")                                    \
	X(COUNTER, provision, unreached, "Attempts of rules that did not reach the platform or came too often")               \
	X(COUNTER, provision, lost, "Certificates asked for by rules and perhaps given out, but not stored")                  \
	X(COUNTER, provision, names_refused, "Identities out of which a rule makes no DeviceName")

#define CW_STATS_FIRMWARE(X) \
	X(COUNTER, firmware, downloads, "Downloads of upgrades begun, repeated ones included")                                \
	X(COUNTER, firmware, bytes, "Bytes of upgrades downloaded")                                                           \
	X(COUNTER, firmware, files, "Files of upgrades that were whole and right")                                            \
	X(COUNTER, firmware, failed, "Files of upgrades that did not come, or were not what was announced")

#define CW_STATS_UPSTREAM(X) \
	X(GAUGE, upstream, up, "Upstreams logged in now")                                                                     \
	X(COUNTER, upstream, connects, "Connections to the platform made")                                                    \
	X(COUNTER, upstream, connect_failed, "Connections to the platform that failed or were refused")                       \
	X(COUNTER, upstream, disconnects, "Connections to the platform lost")                                                 \
	X(COUNTER, upstream, published, "Messages handed to the client library")                                              \
	X(COUNTER, upstream, confirmed, "Messages confirmed by the platform")                                                 \
	X(COUNTER, upstream, replies_ok, "Replies with code 200")                                                             \
	X(COUNTER, upstream, replies_failed, "Replies with another code")                                                     \
	X(COUNTER, upstream, downlinks, "Messages received from the platform")                                                \
	X(COUNTER, upstream, downlinks_odd, "Messages received that are not understood")                                      \
	X(COUNTER, upstream, logins, "Device logins accepted by the platform")                                                \
	X(COUNTER, upstream, logins_refused, "Device logins refused by the platform")                                         \
	X(COUNTER, upstream, kicked, "Devices logged out by the platform")                                                    \
	X(COUNTER, upstream, resent,                                                                                          \
	  "Messages sent again because they stayed unconfirmed or the platform asked for later")                              \
	X(COUNTER, upstream, requests_timed_out, "Logins and topology requests without an answer in time")                    \
	X(COUNTER, upstream, answers, "Answers to commands handed to the client library")                                     \
	X(COUNTER, upstream, answers_lost, "Answers to commands given up: no connection, or no room")                         \
	X(COUNTER, upstream, paced, "Times a message waited for the platform's rate limits")                                  \
	X(COUNTER, upstream, split, "Records too long for one message and sent as several")                                   \
	X(COUNTER, upstream, too_long, "Records refused because a message of this upstream cannot hold them")                 \
	X(GAUGE, upstream, sessions, "Sessions of single devices open at the platform (CoAP)")                                \
	X(GAUGE, lane, queued_records, "Records waiting for an upstream")                                                     \
	X(GAUGE, lane, queued_bytes, "Bytes waiting for an upstream")                                                         \
	X(GAUGE, lane, in_flight, "Records sent and not yet confirmed")                                                       \
	X(COUNTER, upstream, acknowledged, "Messages acknowledged to the platform after they were taken over")                \
	X(COUNTER, upstream, packs, "Pack posts sent, each with readings of several devices")                                 \
	X(COUNTER, upstream, packed, "Records that went in pack posts")                                                       \
	X(COUNTER, upstream, packs_split, "Pack posts the platform refused, sent again in halves")                            \
	X(COUNTER, upstream, log_lines, "Log lines posted to the platform because its log switch is on")

#define CW_STATS_FACTORY(X) \
	X(COUNTER, factory, requests, "Requests to the line that were whole, whatever became of them")                        \
	X(COUNTER, factory, answer_ok, "Requests to the line answered OK")                                                    \
	X(COUNTER, factory, answer_unknown_product, "The same answered UNKNOWN_PRODUCT")                                      \
	X(COUNTER, factory, answer_out_of_stock, "The same answered OUT_OF_STOCK")                                            \
	X(COUNTER, factory, answer_unknown_device, "The same answered UNKNOWN_DEVICE")                                        \
	X(COUNTER, factory, answer_batch_closed, "The same answered BATCH_CLOSED")                                            \
	X(COUNTER, factory, answer_quota_exceeded, "The same answered QUOTA_EXCEEDED")                                        \
	X(COUNTER, factory, answer_bad_request, "The same answered BAD_REQUEST")                                              \
	X(COUNTER, factory, answer_unauthorized, "The same answered UNAUTHORIZED")                                            \
	X(COUNTER, factory, answer_busy, "The same answered BUSY")                                                            \
	X(COUNTER, factory, allocated, "Certificates given out for the first time")                                           \
	X(COUNTER, factory, anonymous, "Of these: without a DeviceID of the station's own")                                   \
	X(COUNTER, factory, again, "Boards that asked again and got what they have")                                          \
	X(COUNTER, factory, written, "Reports that a board has its certificate, first ones")                                  \
	X(COUNTER, factory, deviations, "Requests that differ from the protocol and were served all the same: Action as text") \
	X(COUNTER, factory, unheard, "Answers whose client was gone before they could be sent")                               \
	X(GAUGE, factory, waiting, "Requests that wait for the database now")                                                 \
	X(COUNTER, factory, commits, "Transactions that served the line")                                                     \
	X(COUNTER, factory, committed, "Requests in them; divided by commits: how many share one")                            \
	X(COUNTER, factory, failed, "Transactions that failed; their requests were answered BUSY")                            \
	X(COUNTER, factory, reclaimed, "Allocations without report that went back to the stock when their lease was over")    \
	X(COUNTER, factory, logins, "Log-ins of operators at the page")                                                       \
	X(COUNTER, factory, logins_refused, "Names and tokens at the page, and tokens at its API, that are no operator's")     \
	X(COUNTER, factory, reloads, "Configurations taken over on SIGHUP")

#endif
