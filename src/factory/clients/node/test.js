/*
 * test.js - does the way to the distribution server work? node test.js [SERVER [PRODUCT_KEY]]
 *
 * Takes one new certificate, the one of the id 123456 twice, and reports that one: for a product to try with.
 * Prints secrets. Exit status 0: all of it worked.
 */
'use strict';

const assert = require('assert');
const { req_dev_cert, send_burn_result_by_did, parseCertificate } = require('./devReqCert');

const server = process.argv[2] || '127.0.0.1';
const pk = process.argv[3] || 'a1B2c3D4e5F';

function handler(then) {
  return (text, error) => {
    if (error) {
      console.error(`test.js: ${error.message}`);
      process.exit(1);
    }
    assert.strictEqual(typeof text, 'string');
    console.log('DevInfo:', text);
    then(text);
  };
}

req_dev_cert(server, pk, null, handler((first) => {
  parseCertificate(first);
  req_dev_cert(server, pk, '123456', handler((second) => {
    const own = parseCertificate(second);
    assert.notStrictEqual(own.DeviceName, JSON.parse(first).DeviceName);
    req_dev_cert(server, pk, '123456', handler((third) => {
      assert.strictEqual(parseCertificate(third).DeviceName, own.DeviceName);
      send_burn_result_by_did(server, pk, '123456', (text, error) => {
        assert.ifError(error);
        assert.strictEqual(JSON.parse(text).Status, 'OK');
        console.log('reported');
      });
    }));
  }));
}));
