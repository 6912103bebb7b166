/*
 * command.h - how a command from the platform can end.
 *
 * A decoder ends a command with host->command_done(id, code, reply). The code
 * travels to the platform; 200 is success, 100000 to 110000 are the device's own.
 * The last three are given by the host when no decoder could answer.
 */
#ifndef CAUSEWAY_COMMAND_H
#define CAUSEWAY_COMMAND_H

#define CW_CODE_OK 200          /* done */
#define CW_CODE_ERROR 400       /* the device says its message had an error */
#define CW_CODE_BAD_INPUT 460   /* parameters missing, out of range or not expressible in the protocol */
#define CW_CODE_NOT_THERE 405   /* this device's edition of the protocol has no such command */
#define CW_CODE_FAILED 500      /* the device tried and failed */
#define CW_CODE_UNSUPPORTED 501 /* the device or the decoder does not know the command */
#define CW_CODE_BUSY 429        /* too many commands wait for this device */
#define CW_CODE_OFFLINE 404     /* no session of the device */
#define CW_CODE_TIMED_OUT 408   /* no answer before the deadline */

#endif
