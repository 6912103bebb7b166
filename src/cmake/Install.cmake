# What `cmake --install` and `cpack` put where. Components, each a Debian package: causeway (the gateway and its tool),
# causeway-factory (the production line's server and its clients), causeway-cloud (the emulator), libcauseway (the shared library) and libcauseway-dev (headers, static library, what authors of
# plugins build with).
include(GNUInstallDirs)

# Paths the way a distribution has them, whatever CMAKE_INSTALL_LIBDIR is: plugins belong to this program, not to an architecture's libraries.
set(CW_PLUGIN_DESTINATION lib/causeway/plugins)

install(TARGETS causewayd DESTINATION ${CMAKE_INSTALL_SBINDIR} COMPONENT causeway)
install(TARGETS causeway DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT causeway)
install(TARGETS causeway-factory DESTINATION ${CMAKE_INSTALL_SBINDIR} COMPONENT causeway-factory)
install(TARGETS causeway-cloud DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT causeway-cloud)
install(TARGETS causeway-script DESTINATION ${CMAKE_INSTALL_LIBEXECDIR} COMPONENT causeway-cloud)
get_property(plugins GLOBAL PROPERTY CW_PLUGINS)
list(REMOVE_ITEM plugins skeleton) # an example, to be read
foreach(plugin ${plugins})
	install(TARGETS cw_plugin_${plugin} LIBRARY DESTINATION ${CW_PLUGIN_DESTINATION} COMPONENT causeway)
	install(FILES plugins/${plugin}/README.md DESTINATION ${CMAKE_INSTALL_DOCDIR}/plugins/${plugin} COMPONENT causeway)
endforeach()
install(DIRECTORY include/causeway DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT libcauseway-dev PATTERN CHANGES EXCLUDE)
install(FILES include/causeway/CHANGES DESTINATION ${CMAKE_INSTALL_DATADIR}/doc/libcauseway-dev COMPONENT libcauseway-dev)
# In the folders they have here, for they name each other by that.
install(FILES README.md DESTINATION ${CMAKE_INSTALL_DOCDIR} COMPONENT causeway)
install(FILES conf/DEVICES.md conf/FACTORY.md conf/IDENTITIES.md conf/LIBRARY.md conf/UPSTREAMS.md DESTINATION ${CMAKE_INSTALL_DOCDIR}/conf COMPONENT causeway)
install(FILES plugins/README.md DESTINATION ${CMAKE_INSTALL_DOCDIR}/plugins COMPONENT causeway)
install(FILES conf/application.conf conf/devices.conf DESTINATION ${CMAKE_INSTALL_DOCDIR}/examples COMPONENT causeway)
install(FILES conf/cloud.conf DESTINATION ${CMAKE_INSTALL_DATADIR}/doc/causeway-cloud/examples COMPONENT causeway-cloud)
install(FILES src/cloud/USING.md DESTINATION ${CMAKE_INSTALL_DATADIR}/doc/causeway-cloud COMPONENT causeway-cloud)
# A name without a folder is seen from where a program runs: the service and an operator's shell are to mean the same stock.
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS conf/factory.conf)
file(READ conf/factory.conf example)
string(REPLACE "\ndb = factory.db\n" "\ndb = /var/lib/causeway-factory/factory.db\n" example "${example}")
string(REPLACE "# keyFile = factory.db.key\n" "# keyFile = /var/lib/causeway-factory/factory.db.key\n" example "${example}")
file(WRITE ${CMAKE_BINARY_DIR}/examples/factory.conf "${example}")
install(FILES ${CMAKE_BINARY_DIR}/examples/factory.conf DESTINATION ${CMAKE_INSTALL_DATADIR}/doc/causeway-factory/examples COMPONENT causeway-factory)
# As source: firmware and stations are built elsewhere.
install(DIRECTORY src/factory/clients DESTINATION ${CMAKE_INSTALL_DATADIR}/doc/causeway-factory COMPONENT causeway-factory)
foreach(part causeway causeway-cloud causeway-factory libcauseway-dev)
	install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DATADIR}/doc/${part} RENAME copyright COMPONENT ${part})
endforeach()
install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DATADIR}/doc/libcauseway${PROJECT_VERSION_MAJOR} RENAME copyright COMPONENT libcauseway)

# The services: a unit names the program where it will be, which is known when it is installed.
function(cw_install_service unit users component)
	install(CODE "set(CW_SBINDIR \"\${CMAKE_INSTALL_PREFIX}/${CMAKE_INSTALL_SBINDIR}\")
	configure_file(\"${CMAKE_SOURCE_DIR}/conf/systemd/${unit}.service\" \"${CMAKE_BINARY_DIR}/${unit}.service\" @ONLY)" COMPONENT ${component})
	install(FILES ${CMAKE_BINARY_DIR}/${unit}.service DESTINATION lib/systemd/system COMPONENT ${component})
	install(FILES conf/systemd/${users}.sysusers DESTINATION lib/sysusers.d RENAME ${users}.conf COMPONENT ${component})
endfunction()
cw_install_service(causewayd causeway causeway)
cw_install_service(causeway-factory causeway-factory causeway-factory)

# Manual pages.
function(cw_man name section program component summary)
	cmake_parse_arguments(M "VERBS" "ASK" "" ${ARGN})
	if(NOT M_ASK)
		set(M_ASK --help)
	endif()
	set(out ${CMAKE_BINARY_DIR}/man/${name}.${section})
	add_custom_command(OUTPUT ${out} DEPENDS ${program} ${CMAKE_SOURCE_DIR}/src/cmake/man.cmake
		COMMAND ${CMAKE_COMMAND} -DPROGRAM=$<TARGET_FILE:${program}> "-DASK=${M_ASK}" -DNAME=${name} -DSECTION=${section}
			"-DSUMMARY=${summary}" -DVERSION=${PROJECT_VERSION} -DOUT=${out} -DVERBS=${M_VERBS} -P ${CMAKE_SOURCE_DIR}/src/cmake/man.cmake
		VERBATIM)
	set_property(GLOBAL APPEND PROPERTY CW_MANUALS ${out})
	install(FILES ${out} DESTINATION ${CMAKE_INSTALL_MANDIR}/man${section} COMPONENT ${component})
endfunction()
cw_man(causewayd 8 causewayd causeway "gateway between devices with protocols of their own and an IoT platform")
cw_man(causeway 1 causeway causeway "operate gateway and production line, look at protocols, write plugins" VERBS)
cw_man(causeway.conf 5 causeway causeway "settings, log ids and counters of gateway and factory"
	ASK "config reference --plugin-dir ${CMAKE_BINARY_DIR}/plugins")
cw_man(causeway-factory 8 causeway-factory causeway-factory "gives each board on a production line a certificate of its own")
cw_man(causeway-cloud 1 causeway-cloud causeway-cloud "local emulator of the IoT platform")
get_property(manuals GLOBAL PROPERTY CW_MANUALS)
add_custom_target(manuals ALL DEPENDS ${manuals})
list(TRANSFORM plugins PREPEND cw_plugin_)
add_dependencies(manuals ${plugins})

# Debian packages: `cpack` in the build directory.
set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME causeway)
set(CPACK_PACKAGE_CONTACT "Causeway <causeway@example.org>")
set(CPACK_PACKAGE_VENDOR Causeway)
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_COMPONENTS_ALL causeway causeway-cloud causeway-factory libcauseway libcauseway-dev)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_ENABLE_COMPONENT_DEPENDS OFF)
set(CPACK_DEBIAN_CAUSEWAY_PACKAGE_NAME causeway)
set(CPACK_DEBIAN_CAUSEWAY_PACKAGE_SECTION net)
set(CPACK_COMPONENT_CAUSEWAY_DESCRIPTION "Gateway between devices with protocols of their own and an IoT platform
 JT/T 808, GB/T 26875.3, Modbus, HJ 212 and what plugins add, over MQTT, CoAP or HTTP/2.")
set(CPACK_DEBIAN_CAUSEWAY_PACKAGE_CONTROL_EXTRA "${CMAKE_SOURCE_DIR}/conf/systemd/gateway/postinst;${CMAKE_SOURCE_DIR}/conf/systemd/gateway/prerm;${CMAKE_SOURCE_DIR}/conf/systemd/gateway/postrm")
set(CPACK_DEBIAN_CAUSEWAY_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_DEBIAN_CAUSEWAY-CLOUD_PACKAGE_NAME causeway-cloud)
set(CPACK_DEBIAN_CAUSEWAY-CLOUD_PACKAGE_SECTION net)
set(CPACK_COMPONENT_CAUSEWAY-CLOUD_DESCRIPTION "Local emulator of the IoT platform that causeway speaks to")
set(CPACK_DEBIAN_CAUSEWAY-FACTORY_PACKAGE_NAME causeway-factory)
set(CPACK_DEBIAN_CAUSEWAY-FACTORY_PACKAGE_SECTION net)
set(CPACK_DEBIAN_CAUSEWAY-FACTORY_PACKAGE_DEPENDS "causeway (= ${PROJECT_VERSION})") # `causeway factory` fills the stock
set(CPACK_COMPONENT_CAUSEWAY-FACTORY_DESCRIPTION "Certificates for the boards of a production line
 Gives each board one, once, to stations and to devices in the field; stock, page, audit log.")
set(CPACK_DEBIAN_CAUSEWAY-FACTORY_PACKAGE_CONTROL_EXTRA "${CMAKE_SOURCE_DIR}/conf/systemd/factory/postinst;${CMAKE_SOURCE_DIR}/conf/systemd/factory/prerm;${CMAKE_SOURCE_DIR}/conf/systemd/factory/postrm")
set(CPACK_DEBIAN_CAUSEWAY-FACTORY_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_DEBIAN_LIBCAUSEWAY_PACKAGE_NAME libcauseway${PROJECT_VERSION_MAJOR})
set(CPACK_DEBIAN_LIBCAUSEWAY_PACKAGE_SECTION libs)
set(CPACK_DEBIAN_LIBCAUSEWAY_PACKAGE_GENERATE_SHLIBS ON)
set(CPACK_COMPONENT_LIBCAUSEWAY_DESCRIPTION "The platform's side of causeway as a library")
set(CPACK_DEBIAN_LIBCAUSEWAY-DEV_PACKAGE_NAME libcauseway-dev)
set(CPACK_DEBIAN_LIBCAUSEWAY-DEV_PACKAGE_SECTION libdevel)
set(CPACK_DEBIAN_LIBCAUSEWAY-DEV_PACKAGE_DEPENDS "libcauseway${PROJECT_VERSION_MAJOR} (= ${PROJECT_VERSION})")
set(CPACK_COMPONENT_LIBCAUSEWAY-DEV_DESCRIPTION "Headers of causeway's library and of its plugins")
include(CPack)
