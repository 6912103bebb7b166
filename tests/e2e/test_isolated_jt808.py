"""JT/T 808 in a plugin host: tests of other files, run again with the decoder in a process of its own.

All of the gateway's tests can be run so: CW_TEST_ISOLATED=1."""
import pytest
from conftest import wait_until
from gw import cloud_conf, start_gateway  # noqa: F401
from test_gateway_commands import (test_a_property_set_is_answered_when_the_terminal_has_answered,  # noqa: F401
                                   test_a_terminal_that_does_not_answer_costs_its_command_and_nothing_else,
                                   test_a_connection_that_ends_ends_its_commands,
                                   test_a_synchronous_service_is_answered_within_its_time)
from test_gateway_delivery import (test_a_report_is_answered_only_when_the_platform_has_confirmed_it,  # noqa: F401
                                   test_the_order_of_each_device_is_kept_under_load,
                                   test_a_full_queue_stops_reading_and_nothing_is_lost_when_it_flows_again,
                                   test_a_terminal_that_leaves_before_its_answer_costs_a_late_settle_and_no_record)
from test_gateway_sessions import (test_an_unknown_terminal_is_told_so_closed_and_named_once_a_minute,  # noqa: F401
                                   test_what_a_terminal_reported_before_it_left_still_reaches_the_platform)
from test_gateway_stopping import test_a_stop_during_traffic_loses_nothing_that_was_acknowledged  # noqa: F401
from test_jt808 import (test_a_picture_in_parts_becomes_a_file_and_an_event,  # noqa: F401
                        test_a_terminal_on_udp_reports_and_is_commanded)


@pytest.fixture
def world(start_cloud, start_gateway, tmp_path):  # noqa: F811
    def start(devices=3, limits=None, extra="", **options):
        cloud = start_cloud(cloud_conf(devices, **(limits or {})))
        stock = tmp_path / "causeway-cloud.conf"
        stock.write_text(stock.read_text().replace('mqtt = "127.0.0.1:0"', f'mqtt = "127.0.0.1:{cloud.mqtt[1]}"'))
        gateway = start_gateway(cloud, devices=devices, extra=extra + "\nisolation.protocols = [jt808]", **options).wait_up()
        wait_until(lambda: [h["state"] for h in gateway.status()["pluginHosts"]] == ["up", "up"], "plugin hosts")
        return cloud, gateway
    return start
