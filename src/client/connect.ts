/** A client of a server: skerry://host:port. */
import { randomInt } from 'node:crypto';
import { SkerryError } from '../core/errors.ts';
import { Dispatcher } from './dispatcher.ts';
import type { Format, OpenOptions } from './options.ts';
import { clientSettings } from './options.ts';
import { Store } from './store.ts';
import { TcpTransport } from './tcp-transport.ts';
import type { Transport } from './transport.ts';

const DEFAULT_PORT = 7370;
const CLIENT_ID_MAX = 2 ** 48 - 1;

/** Connects to skerry://host[:port]. Rejects with SkerryError when nobody answers there. */
export async function connect<As extends Format = 'bytes'>(
  url: string,
  options: OpenOptions<As> = {},
): Promise<Store<As>> {
  const { host, port } = parseAddress(url);
  const { connectTimeoutMs, name } = clientSettings(options);
  return await openStore(new TcpTransport({ host, port, connectTimeoutMs, name }), options);
}

/** A store over any transport. */
export async function openStore<As extends Format>(transport: Transport, options: OpenOptions<As>): Promise<Store<As>> {
  const settings = clientSettings(options);
  const dispatcher = new Dispatcher(transport, settings, randomInt(1, CLIENT_ID_MAX), Math.random);
  try {
    await dispatcher.open();
  } catch (error) {
    await transport.close();
    throw error;
  }
  return new Store<As>(dispatcher, settings);
}

function parseAddress(url: string): { host: string; port: number } {
  const parsed = URL.canParse(url) ? new URL(url) : null;
  if (parsed === null || parsed.protocol !== 'skerry:' || parsed.hostname === '') {
    throw new SkerryError('KV_INVALID', `${url} is no address; it should be like skerry://127.0.0.1:7370`);
  }
  // IPv6 addresses come in brackets.
  const host = parsed.hostname.replace(/^\[|\]$/g, '');
  return { host, port: parsed.port === '' ? DEFAULT_PORT : Number(parsed.port) };
}
