# How modules, plugins, programs and tests are declared. Targets carry their own
# flags; nothing is global. A module links only the modules named behind DEPS, so
# a call upwards in the layers does not link in its unit test.

find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)

# One warning set for everything of ours.
set(CW_WARNINGS -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith
	-Wcast-qual -Wwrite-strings -Wformat=2 -Wundef -Wvla -Wno-unused-parameter)
if(CW_WERROR)
	list(APPEND CW_WARNINGS -Werror)
endif()

function(cw_flags target)
	target_compile_options(${target} PRIVATE ${CW_WARNINGS} -fno-common -fno-omit-frame-pointer)
	target_compile_definitions(${target} PRIVATE _GNU_SOURCE CW_VERSION="${PROJECT_VERSION}")
	target_include_directories(${target} PRIVATE ${CMAKE_SOURCE_DIR}/include ${CMAKE_SOURCE_DIR}/src)
	if(CMAKE_BUILD_TYPE MATCHES "Release|RelWithDebInfo" AND NOT CW_SANITIZE)
		target_compile_definitions(${target} PRIVATE _FORTIFY_SOURCE=2)
		target_compile_options(${target} PRIVATE -fstack-protector-strong)
	endif()
	if(CW_TESTS)
		target_compile_definitions(${target} PRIVATE CW_MEM_COUNT)
	endif()
	if(CW_SANITIZE)
		target_compile_options(${target} PRIVATE -fsanitize=${CW_SANITIZE} -fno-sanitize-recover=undefined)
		target_link_options(${target} PRIVATE -fsanitize=${CW_SANITIZE})
	endif()
endfunction()

# A system library by its pkg-config name, as the imported target cw_ext_<name>.
function(cw_library name pkg)
	pkg_check_modules(CW_EXT_${name} REQUIRED IMPORTED_TARGET ${pkg})
	add_library(cw_ext_${name} INTERFACE)
	target_link_libraries(cw_ext_${name} INTERFACE PkgConfig::CW_EXT_${name})
endfunction()

# cw_add_module(net DEPS base loop SYSTEM cw_ext_uv SOURCES a.c b.c)
function(cw_add_module name)
	cmake_parse_arguments(M "" "" "DEPS;SYSTEM;SOURCES" ${ARGN})
	add_library(cw_${name} STATIC ${M_SOURCES})
	cw_flags(cw_${name})
	foreach(dep ${M_DEPS})
		target_link_libraries(cw_${name} PUBLIC cw_${dep})
	endforeach()
	target_link_libraries(cw_${name} PUBLIC ${M_SYSTEM})
endfunction()

# cw_add_program(causewayd DEPS daemon SOURCES main.c)
function(cw_add_program name)
	cmake_parse_arguments(P "" "" "DEPS;SYSTEM;SOURCES" ${ARGN})
	add_executable(${name} ${P_SOURCES})
	cw_flags(${name})
	foreach(dep ${P_DEPS})
		target_link_libraries(${name} PRIVATE cw_${dep})
	endforeach()
	target_link_libraries(${name} PRIVATE ${P_SYSTEM})
endfunction()

# cw_add_plugin(jt808 CODEC a.c b.c): the codec is an object library that tests and
# fuzzers link; plugin.c holds only the descriptor. The result sees the public headers only.
function(cw_add_plugin name)
	cmake_parse_arguments(P "" "" "CODEC" ${ARGN})
	add_library(cw_codec_${name} OBJECT ${P_CODEC})
	cw_flags(cw_codec_${name})
	set_target_properties(cw_codec_${name} PROPERTIES INCLUDE_DIRECTORIES "${CMAKE_SOURCE_DIR}/include;${CMAKE_CURRENT_SOURCE_DIR}")
	add_library(cw_plugin_${name} MODULE plugin.c $<TARGET_OBJECTS:cw_codec_${name}>)
	cw_flags(cw_plugin_${name})
	set_target_properties(cw_plugin_${name} PROPERTIES PREFIX "" OUTPUT_NAME ${name}
		INCLUDE_DIRECTORIES "${CMAKE_SOURCE_DIR}/include;${CMAKE_CURRENT_SOURCE_DIR}"
		LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/plugins)
	if(NOT CW_SANITIZE)
		target_link_options(cw_plugin_${name} PRIVATE -Wl,-z,defs)
	endif()
endfunction()

# cw_add_test(net listener [DEPS ..] [SYSTEM ..]): tests/unit/net/test_listener.c, linked with module net and what it declares.
function(cw_add_test module name)
	cmake_parse_arguments(T "" "" "DEPS;SYSTEM;OBJECTS" ${ARGN})
	set(target test_${module}_${name})
	add_executable(${target} ${CMAKE_SOURCE_DIR}/tests/unit/${module}/test_${name}.c ${T_OBJECTS})
	cw_flags(${target})
	target_include_directories(${target} PRIVATE ${CMAKE_SOURCE_DIR}/tests/lib)
	set_target_properties(${target} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
	if(TARGET cw_${module})
		target_link_libraries(${target} PRIVATE cw_${module})
	endif()
	foreach(dep ${T_DEPS})
		target_link_libraries(${target} PRIVATE cw_${dep})
	endforeach()
	target_link_libraries(${target} PRIVATE ${T_SYSTEM} cw_ext_cmocka)
	add_test(NAME unit.${module}.${name} COMMAND ${target} WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
	set_tests_properties(unit.${module}.${name} PROPERTIES
		ENVIRONMENT "CW_BUILD_DIR=${CMAKE_BINARY_DIR};CMOCKA_MESSAGE_OUTPUT=stdout")
endfunction()

# cw_add_fuzzer(hocon DEPS conf SOURCES fuzz_hocon.c)
function(cw_add_fuzzer name)
	cmake_parse_arguments(F "" "" "DEPS;SYSTEM;OBJECTS" ${ARGN})
	if(NOT CW_FUZZ)
		return()
	endif()
	add_executable(fuzz_${name} ${CMAKE_SOURCE_DIR}/tests/fuzz/fuzz_${name}.c ${F_OBJECTS})
	cw_flags(fuzz_${name})
	foreach(dep ${F_DEPS})
		target_link_libraries(fuzz_${name} PRIVATE cw_${dep})
	endforeach()
	target_link_libraries(fuzz_${name} PRIVATE ${F_SYSTEM})
	target_link_options(fuzz_${name} PRIVATE -fsanitize=fuzzer)
	set_target_properties(fuzz_${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/fuzzers)
endfunction()

# cw_embed(cloud_api page_html cloud/api/page/index.html): the file as array page_html, page_html_len in module cloud_api.
function(cw_embed module name file)
	set(in ${CMAKE_CURRENT_SOURCE_DIR}/${file})
	set(out ${CMAKE_CURRENT_BINARY_DIR}/${name}.c)
	add_custom_command(OUTPUT ${out} DEPENDS ${in} ${CMAKE_SOURCE_DIR}/src/cmake/embed.cmake
		COMMAND ${CMAKE_COMMAND} -DIN=${in} -DOUT=${out} -DNAME=${name} -P ${CMAKE_SOURCE_DIR}/src/cmake/embed.cmake)
	target_sources(cw_${module} PRIVATE ${out})
endfunction()
