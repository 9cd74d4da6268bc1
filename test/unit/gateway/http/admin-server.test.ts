import { request } from 'node:http';
import { connect } from 'node:net';
import test, { type ExecutionContext } from 'ava';
import { startAdminServer, type AdminSource } from '../../../../src/gateway/http/admin-server.ts';
import { silentLogger } from '../../../../src/observe/log.ts';

const healthy: AdminSource = { notReady: () => [], metrics: () => '# nothing\n', status: () => ({ ranges: 2 }) };

async function start(t: ExecutionContext, source: Partial<AdminSource> = {}): Promise<string> {
  const server = await startAdminServer({ ...healthy, ...source }, { host: '127.0.0.1', port: 0, log: silentLogger });
  t.teardown(() => server.close());
  return `http://127.0.0.1:${server.port}`;
}

/** What the server sends for these bytes until it closes the connection. */
function raw(url: string, bytes: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(Number(new URL(url).port), '127.0.0.1', () => socket.write(bytes));
    let received = '';
    socket.setEncoding('latin1').on('data', (chunk: string) => (received += chunk));
    socket.once('close', () => resolve(received));
    socket.once('error', reject);
  });
}

test('/healthz answers as long as the process lives, ready or not', async (t) => {
  const url = await start(t, { notReady: () => ['recovering'] });
  const response = await fetch(`${url}/healthz`);
  t.is(response.status, 200);
  t.deepEqual(await response.json(), { status: 'alive' });
});

test('/readyz says 200 when the node serves, else 503 and why', async (t) => {
  const reasons = ['worker 1 is replaying its log', 'the disk is full'];
  const url = await start(t, { notReady: () => reasons });
  const response = await fetch(`${url}/readyz`);
  t.is(response.status, 503);
  t.deepEqual(await response.json(), { status: 'not ready', reasons });
  reasons.length = 0;
  t.is((await fetch(`${url}/readyz`)).status, 200);
});

test('/metrics is served as Prometheus wants it, /status as JSON', async (t) => {
  const url = await start(t);
  const metrics = await fetch(`${url}/metrics?name=x`);
  t.is(metrics.headers.get('content-type'), 'text/plain; version=0.0.4; charset=utf-8');
  t.is(await metrics.text(), '# nothing\n');
  const status = await fetch(`${url}/status`);
  t.is(status.headers.get('content-type'), 'application/json; charset=utf-8');
  t.is(status.headers.get('cache-control'), 'no-store');
  t.deepEqual(await status.json(), { ranges: 2 });
});

test('HEAD answers like GET without a body', async (t) => {
  const url = await start(t);
  const response = await fetch(`${url}/status`, { method: 'HEAD' });
  t.is(response.status, 200);
  t.true(Number(response.headers.get('content-length')) > 0);
  t.is(await response.text(), '');
});

test('an unknown path says what there is; names of Object.prototype are unknown paths too', async (t) => {
  const url = await start(t);
  for (const path of ['/', '/metrics/', '/constructor', '/__proto__', '//status', '/%2e%2e%2fstatus']) {
    const response = await fetch(url + path);
    t.is(response.status, 404, path);
    const { error } = (await response.json()) as { error: { code: string; message: string } };
    t.is(error.code, 'KV_INVALID');
    t.regex(error.message, /There is: \/healthz, \/readyz, \/metrics, \/status\./);
  }
});

test('a wrong method says which are right, and its body does not block the connection', async (t) => {
  const url = await start(t);
  const response = await fetch(`${url}/status`, { method: 'POST', body: 'x'.repeat(1_000_000) });
  t.is(response.status, 405);
  t.is(response.headers.get('allow'), 'GET, HEAD');
  t.regex(await response.text(), /POST is not possible at \/status; use GET, HEAD\./);
});

test('a source that throws gives 500 with its message, and the server goes on', async (t) => {
  const url = await start(t, {
    status: () => {
      throw new Error('no such worker');
    },
  });
  const response = await fetch(`${url}/status`);
  t.is(response.status, 500);
  t.regex(await response.text(), /\/status failed: no such worker/);
  t.is((await fetch(`${url}/healthz`)).status, 200);
});

test('what is not HTTP is refused and harms nobody', async (t) => {
  const url = await start(t);
  t.regex(await raw(url, 'SET a 1\r\n\r\n'), /^HTTP\/1\.1 400 /);
  t.regex(
    await raw(url, `GET /healthz HTTP/1.1\r\nHost: x\r\nX: ${'y'.repeat(100_000)}\r\n\r\n`),
    /^HTTP\/1\.1 (400|431) /,
  );
  t.is((await fetch(`${url}/healthz`)).status, 200);
});

test('an absolute URL, as a proxy sends it, finds its path', async (t) => {
  const url = await start(t);
  const status = await new Promise((resolve, reject) => {
    request(url, { path: 'http://example.org/healthz' }, (response) => {
      response.resume();
      resolve(response.statusCode);
    })
      .once('error', reject)
      .end();
  });
  t.is(status, 200);
});

test('a port that is taken is reported with the flag that changes it', async (t) => {
  const url = await start(t);
  const port = Number(new URL(url).port);
  await t.throwsAsync(startAdminServer(healthy, { host: '127.0.0.1', port, log: silentLogger }), {
    code: 'KV_NETWORK',
    message: /cannot listen on 127\.0\.0\.1:\d+: .*EADDRINUSE.*--http-port/,
  });
});

test('after close nobody is answered any more, idle connections included', async (t) => {
  const server = await startAdminServer(healthy, { host: '127.0.0.1', port: 0, log: silentLogger });
  const url = `http://127.0.0.1:${server.port}/healthz`;
  t.is((await fetch(url)).status, 200);
  await server.close();
  await t.throwsAsync(fetch(url));
});
