// What the official Node SDK says and hears as a device and as a gateway; one line of JSON for each answer.
// usage: NODE_PATH=... node node_sdk.js BROKER_URL
const iot = require('alibabacloud-iot-device-sdk');
const brokerUrl = process.argv[2];
const say = (what, got) => console.log(JSON.stringify({ what, code: got && got.code, got }));
const sub = { productKey: 'a1EmuSub001', deviceName: 'sub-0001', deviceSecret: '0123456789abcdef0123456789abcd11' };
const name = { productKey: sub.productKey, deviceName: sub.deviceName };

const dev = iot.device({ productKey: 'a1EmuPk0001', deviceName: 'dev-0001', deviceSecret: '0123456789abcdef0123456789abcdef', brokerUrl });
const gw = iot.gateway({ productKey: 'a1EmuGw0001', deviceName: 'gw-0001', deviceSecret: '0123456789abcdef0123456789abcd01', brokerUrl });
for (const it of [dev, gw]) it.on('error', e => say('error', String(e)));

dev.on('connect', () => {
  dev.onProps(got => say('onProps', got));
  dev.onService('reboot', (got, reply) => { say('onService', got); reply({ id: got.id, code: 200, data: {} }); });
  dev.postProps({ speed: 5 }, got => say('postProps', got));
  dev.postEvent('hot', { t: 1 }, got => say('postEvent', got));
  dev.postTags([{ attrKey: 'k', attrValue: 'v' }], got => say('postTags', got));
  dev.deleteTags(['k'], got => say('deleteTags', got));
  dev.subscribe('/a1EmuPk0001/dev-0001/user/get', () => dev.publish('/a1EmuPk0001/dev-0001/user/update', 'hello'));
});
gw.on('connect', () => gw.addTopo([{ ...sub }], got => {
  say('addTopo', got);
  const child = gw.login({ ...sub }, reply => say('login', reply));
  child.on('connect', () => child.postProps({ x: 1 }, posted => {
    say('subPostProps', posted);
    gw.logout(name, left => { say('logout', left); gw.removeTopo([name], gone => say('removeTopo', gone)); });
  }));
}));
process.stdin.on('end', () => process.exit(0)).resume(); // until the test has seen enough
