/* fuzz_embedded.h - the fuzz driver's sources, embedded by the build. */
#ifndef CW_CLI_PLUGIN_FUZZ_EMBEDDED_H
#define CW_CLI_PLUGIN_FUZZ_EMBEDDED_H

#include <stddef.h>

extern const unsigned char cw_fuzz_drive_c[], cw_fuzz_drive_h[], cw_fuzz_drive_host_c[], cw_fuzz_drive_impl_h[];
extern const size_t cw_fuzz_drive_c_len, cw_fuzz_drive_h_len, cw_fuzz_drive_host_c_len, cw_fuzz_drive_impl_h_len;

#endif
