/*
 * bench_broker.c - the ceiling for the gateway's way to a broker: a bare libuv server with libmosquitto behind it.
 *
 * It answers registrations and authentications of bench_load like the gateway's decoder, publishes the bytes of the
 * file `--payload` once for each position at QoS 1, and answers the position when the broker has acknowledged it.
 * One loop, or with `--two` a loop for the sockets and one for the broker, as the gateway has it. Prints the port it
 * listens on and ends with its stdin.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <mosquitto.h>
#include <uv.h>

#include "frame.h"
