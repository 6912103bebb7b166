/// <reference types="node" />
import { Agent } from 'http';
import { SecureContextOptions } from 'tls';

/** The reply's text as it came; or '' and why there is none. */
export type ReplyCallback = (text: string, error?: DistributionError) => void;

/** `ip`: address or name, with or without `:port` (8000). `id` null: a new certificate each time. */
export function req_dev_cert(ip: string, pk: string, id: string | null, callback: ReplyCallback): void;
/** The certificate of `id` is on its board. */
export function send_burn_result_by_did(ip: string, pk: string, id: string, callback?: ReplyCallback): void;

export interface CrcOptions {
  /** Of a Bluetooth product: CRC32 goes over it too. A ProductID in the reply comes first. */
  productId?: string;
  /** Default `pk-dn-ds-ps`. */
  crcOrder?: 'pk-dn-ds-ps' | 'pk-ps-dn-ds';
}

export interface ClientOptions extends CrcOptions {
  /** Address or name, with or without port. Default 127.0.0.1. */
  host?: string;
  /** Default 8000. */
  port?: number;
  /** The station's token, sent as `Authorization: Bearer`. */
  token?: string;
  /** HTTPS: true, or authorities (`ca`) and the station's certificate (`cert`, `key`). */
  tls?: boolean | (SecureContextOptions & { servername?: string });
  /** Milliseconds for one exchange. Default 10000. */
  timeout?: number;
  /** How often a request is repeated where that cannot cost a second certificate. Default 3. */
  retries?: number;
  /** Keeps connections, if it is one that does. */
  agent?: Agent;
}

export interface Certificate {
  ProductKey: string;
  DeviceName: string;
  DeviceSecret: string;
  ProductSecret: string;
  /** What to report with; null when neither the request nor the reply has one. */
  DeviceID: string | null;
  CRC32: string | number;
  Status: 'OK';
  [column: string]: unknown;
}

export interface Report {
  ProductKey?: string;
  DeviceID?: string;
  Status: 'OK';
}

export class DistributionError extends Error {
  code: 'UNREACHED' | 'NO_DATA' | 'TOO_LONG' | 'INVALID' | 'CRC' | 'REFUSED';
  /** The reply's Status, with REFUSED. */
  status?: string;
  /** false: the server cannot have acted on the request. */
  sent: boolean;
}

export class Client {
  constructor(options?: ClientOptions);
  request(pk: string, id?: string | null): Promise<Certificate>;
  report(pk: string, id: string): Promise<Report>;
}

/** The certificate in a reply's text, checked; throws DistributionError. */
export function parseCertificate(text: string, options?: CrcOptions): Certificate;
/** As zlib's, of the text's UTF-8. */
export function crc32(text: string): number;
