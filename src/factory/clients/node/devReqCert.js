/*
 * devReqCert.js - a device's certificate from the distribution server of the production line.
 *
 * req_dev_cert() and send_burn_result_by_did() are the documented calls: callbacks get the reply's text. Client has the same with
 * promises, and checks: Status, all members, CRC32. Needs nothing but Node. Secrets are in the replies only; errors have none.
 */
'use strict';

const http = require('http');
const https = require('https');

const PORT = 8000;
const LONGEST_REPLY = 64 * 1024; // bytes

class DistributionError extends Error {
  // code: UNREACHED, NO_DATA, TOO_LONG, INVALID, CRC, REFUSED. status: of the reply, with REFUSED. sent: the server may have acted on it.
  constructor(code, message, more) {
    super(message);
    this.name = 'DistributionError';
    this.code = code;
    this.sent = true;
    Object.assign(this, more);
  }
}

// "address", "name", with or without ":port"; IPv6 with a port in brackets.
function splitServer(text) {
  const found = /^\[([^\]]+)\](?::(\d+))?$/.exec(text) || /^([^:]+)(?::(\d+))?$/.exec(text);
  return found ? { host: found[1], port: found[2] ? Number(found[2]) : undefined } : { host: text, port: undefined };
}

function crc32(text) {
  let crc = 0xffffffff;
  for (const byte of Buffer.from(text, 'utf8')) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
  }
  return ~crc >>> 0;
}

// Eight hex digits, fewer, any case, or a number: servers send all of these. NaN: none of them.
function crcValue(sent) {
  if (typeof sent === 'number') return Number.isInteger(sent) && sent >= 0 && sent <= 0xffffffff ? sent : NaN;
  return typeof sent === 'string' && /^[0-9a-f]{1,8}$/i.test(sent) ? parseInt(sent, 16) : NaN;
}

// One exchange: the reply's text, which is empty when the server says nothing.
function exchange(options, body) {
  return new Promise((resolve, reject) => {
    const secure = options.tls !== undefined && options.tls !== false;
    const headers = { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(body) };
    if (options.token) headers.Authorization = `Bearer ${options.token}`;
    let connected = false;
    let settled = false;
    let timer;
    const settle = (how, what) => {
      if (settled) return;
      settled = true;
      clearTimeout(timer);
      how(what);
    };
    const fail = (code, message) => settle(reject, new DistributionError(code, message, { sent: connected }));
    const request = (secure ? https : http).request({
      ...(secure && typeof options.tls === 'object' ? options.tls : {}),
      host: options.host, port: options.port, method: 'POST', path: '/', headers,
      agent: options.agent || false, // Node's own keeps connections, and a server may close one just when it is used again
    });
    timer = setTimeout(() => {
      fail(connected ? 'NO_DATA' : 'UNREACHED', `no reply of ${options.host} port ${options.port} within ${options.timeout} ms`);
      request.destroy();
    }, options.timeout);
    request.on('socket', (socket) => {
      if (socket.connecting) socket.once(secure ? 'secureConnect' : 'connect', () => { connected = true; });
      else connected = true;
    });
    request.on('error', (e) => fail(connected ? 'NO_DATA' : 'UNREACHED', `${options.host} port ${options.port}: ${e.message}`));
    request.on('response', (response) => {
      const parts = [];
      let length = 0;
      response.on('data', (part) => {
        parts.push(part);
        length += part.length;
        if (length > LONGEST_REPLY) {
          fail('TOO_LONG', `the reply of ${options.host} is longer than ${LONGEST_REPLY} bytes`);
          request.destroy();
        }
      });
      response.on('error', (e) => fail('NO_DATA', `${options.host}: ${e.message}`));
      response.on('aborted', () => fail('NO_DATA', `the reply of ${options.host} was cut off`));
      response.on('end', () => settle(resolve, Buffer.concat(parts).toString('utf8')));
    });
    request.end(body);
  });
}

function requestBody(pk, id, action) {
  const none = id === null || id === undefined || id === '';
  return JSON.stringify(none ? { ProductKey: pk, Action: action } : { ProductKey: pk, DeviceID: String(id), Action: action });
}

function parseReply(text) {
  let reply;
  try {
    reply = JSON.parse(text);
  } catch (e) { // its message may quote the text
    throw new DistributionError('INVALID', 'the reply is no JSON');
  }
  if (reply === null || typeof reply !== 'object' || typeof reply.Status !== 'string')
    throw new DistributionError('INVALID', 'the reply is none of a distribution server');
  if (reply.Status !== 'OK')
    throw new DistributionError('REFUSED', `${reply.Status}${typeof reply.Message === 'string' ? `: ${reply.Message}` : ''}`,
      { status: reply.Status });
  return reply;
}

const CERTIFICATE = ['ProductKey', 'DeviceName', 'DeviceSecret', 'ProductSecret'];

// The certificate in a reply to Action 0, checked. Throws DistributionError.
function parseCertificate(text, options = {}) {
  const reply = parseReply(text);
  for (const name of CERTIFICATE)
    if (typeof reply[name] !== 'string' || (reply[name] === '' && name !== 'ProductSecret'))
      throw new DistributionError('INVALID', `the reply has no ${name}`);
  const order = options.crcOrder === 'pk-ps-dn-ds' ? ['ProductKey', 'ProductSecret', 'DeviceName', 'DeviceSecret'] : CERTIFICATE;
  const payload = order.map((name) => reply[name]).join('');
  const productId = reply.ProductID !== undefined && reply.ProductID !== null ? reply.ProductID : options.productId;
  const sent = crcValue(reply.CRC32);
  if (sent !== crc32(payload) && (productId === undefined || sent !== crc32(payload + productId)))
    throw new DistributionError('CRC', 'CRC32 of the reply does not belong to its certificate');
  return reply;
}

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

class Client {
  constructor(options = {}) {
    const server = splitServer(options.host || '127.0.0.1');
    this.options = { timeout: 10000, retries: 3, ...options, host: server.host, port: options.port || server.port || PORT };
  }

  // The reply's text. Tried again where that cannot cost a second certificate: with an id, with a report, or when nothing was sent.
  async exchange(pk, id, action) {
    const body = requestBody(pk, id, action);
    const safe = action === 1 || (id !== null && id !== undefined && id !== '');
    for (let tries = 0; ; tries++) {
      let text = '';
      let error = new DistributionError('NO_DATA', `${this.options.host} sent an empty reply`);
      try {
        text = await exchange(this.options, body);
        if (text !== '' && !/"Status"\s*:\s*"BUSY"/.test(text)) return text;
      } catch (e) {
        error = e;
      }
      if (tries >= this.options.retries || (!safe && error.sent && text === '')) {
        if (text !== '') return text;
        throw error;
      }
      await pause(Math.min(200 * 2 ** tries, 5000));
    }
  }

  // A certificate for this id, the same one each time; a new one each time for null. Resolves with the reply's members.
  async request(pk, id) {
    const cert = parseCertificate(await this.exchange(pk, id, 0), this.options);
    if (cert.ProductKey !== pk) throw new DistributionError('INVALID', 'the certificate is of another product');
    if (cert.DeviceID === undefined || cert.DeviceID === null) cert.DeviceID = id === undefined || id === '' ? null : id;
    return cert;
  }

  // The certificate is on the board. `id` is what the certificate's DeviceID said.
  async report(pk, id) {
    return parseReply(await this.exchange(pk, id, 1));
  }
}

// The documented calls: port 8000 where `ip` says none, once more when nothing came.
function classic(ip, pk, id, action, callback) {
  const server = splitServer(ip);
  const options = { host: server.host, port: server.port || PORT, timeout: 10000 };
  const body = requestBody(pk, id, action);
  const done = (text, error) => { if (callback) setImmediate(callback, text, error); };
  const once = () => exchange(options, body).then((text) => {
    if (text === '') throw new DistributionError('NO_DATA', `${ip} sent an empty reply`);
    return text;
  });
  once().catch(once).then((text) => done(text), (error) => done('', error));
}

// callback(text): the reply as it came; callback('', error): there is none. id null: a new certificate each time.
function req_dev_cert(ip, pk, id, callback) {
  classic(ip, pk, id, 0, callback);
}

// The certificate of this id is on its board. callback as above; may be left out.
function send_burn_result_by_did(ip, pk, id, callback) {
  classic(ip, pk, id, 1, callback);
}

module.exports = { req_dev_cert, send_burn_result_by_did, Client, DistributionError, parseCertificate, crc32 };
