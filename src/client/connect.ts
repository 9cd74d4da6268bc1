/** A client of a server: skerry://host:port[,host:port …]. */
import { randomInt } from 'node:crypto';
import { parseUrl } from './address.ts';
import { Dispatcher } from './dispatcher.ts';
import type { Format, OpenOptions } from './options.ts';
import { clientSettings } from './options.ts';
import { Store } from './store.ts';
import { TcpTransport } from './tcp-transport.ts';
import type { Transport } from './transport.ts';

const CLIENT_ID_MAX = 2 ** 48 - 1;

/**
 * Connects to skerry://host:port; of several addresses, separated by commas, to the first that answers, and to another one
 * when that is lost. Rejects with SkerryError: KV_INVALID for what is no address, KV_NETWORK when nobody answers.
 */
export async function connect<As extends Format = 'bytes'>(
  url: string,
  options: OpenOptions<As> = {},
): Promise<Store<As>> {
  const addresses = parseUrl(url);
  const { connectTimeoutMs, name } = clientSettings(options);
  return await openStore(new TcpTransport({ addresses, connectTimeoutMs, name }), options);
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
