/** The generator's own gRPC against Node's HTTP/2, which knows the protocol by heart. */
import { once } from 'node:events';
import { createServer } from 'node:http2';
import type { Http2Server, ServerHttp2Stream } from 'node:http2';
import type { AddressInfo } from 'node:net';
import test from 'ava';
import { createEtcdTarget } from '../../bench/peers/etcd-target.ts';
import { runLoad } from '../../src/bench/load.ts';
import type { LoadPlan } from '../../src/bench/plan.ts';

interface FakeEtcd {
  readonly server: Http2Server;
  readonly port: number;
  /** Messages by path, gRPC's prefix included. */
  readonly calls: {
    readonly path: string;
    readonly headers: Readonly<Record<string, unknown>>;
    readonly body: Buffer;
  }[];
}

/** `respond`: the answer's protobuf, or null for an error that is trailers only. */
async function startFakeEtcd(respond: (body: Buffer) => Buffer | null): Promise<FakeEtcd> {
  const server = createServer();
  const calls: FakeEtcd['calls'] = [];
  server.on('stream', (stream: ServerHttp2Stream, headers) => {
    const chunks: Buffer[] = [];
    stream.on('data', (chunk: Buffer) => chunks.push(chunk));
    stream.on('end', () => {
      const body = Buffer.concat(chunks);
      calls.push({ path: String(headers[':path']), headers, body });
      const message = respond(body);
      const type = { ':status': 200, 'content-type': 'application/grpc' };
      if (message === null) {
        stream.respond({ ...type, 'grpc-status': '14', 'grpc-message': 'no leader' }, { endStream: true });
        return;
      }
      stream.respond(type, { waitForTrailers: true });
      stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
      const prefix = Buffer.alloc(5);
      prefix.writeUInt32BE(message.length, 1);
      stream.end(Buffer.concat([prefix, message]));
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return { server, port: (server.address() as AddressInfo).port, calls };
}

const plan: LoadPlan = {
  clients: 3,
  pipeline: 4,
  threads: 1,
  mix: [0, 1, 0, 0, 0],
  distribution: 'sequential',
  keyCount: 1000,
  valueBytes: 100,
  ratePerSecond: null,
  warmUpMs: 0,
  durationMs: Infinity,
  operations: 1000,
  seed: 1,
};

const HEADER = Buffer.from('0a0608011002180a', 'hex');

test('puts are calls of KV/Put with the key and the value, each answered once', async (t) => {
  const etcd = await startFakeEtcd(() => HEADER);
  const createTarget = (own: LoadPlan) => createEtcdTarget('127.0.0.1', [etcd.port], own);
  const result = await runLoad(plan, { kind: 'here', createTarget });
  etcd.server.close();
  t.is(result.operations, 1000);
  t.is(result.errors, 0);
  t.is(etcd.calls.length, 1000);
  const [first] = etcd.calls;
  t.is(first?.path, '/etcdserverpb.KV/Put');
  t.is(first?.headers['content-type'], 'application/grpc');
  t.is(first?.headers['te'], 'trailers');
  t.is(first?.headers[':authority'], `127.0.0.1:${etcd.port}`);
  const keys = etcd.calls.map(({ body }) => {
    // 0, u32 length, field 1 of 16 bytes, field 2 of 100.
    t.is(body.length, 5 + 2 + 16 + 2 + 100);
    t.is(body.readUInt32BE(1), body.length - 5);
    t.is(body.subarray(5, 7).toString('hex'), '0a10');
    t.is(body.subarray(23, 25).toString('hex'), '1264');
    return body.toString('latin1', 7, 23);
  });
  t.deepEqual(
    keys.toSorted(),
    Array.from({ length: 1000 }, (_, i) => `key:${String(i).padStart(12, '0')}`),
  );
});

test('a read tells a key that is there from one that is not', async (t) => {
  const found = Buffer.concat([
    HEADER,
    Buffer.from('1204', 'hex'),
    Buffer.from('0a026b31', 'hex'),
    Buffer.from('2001', 'hex'),
  ]);
  const etcd = await startFakeEtcd((body) => (body.toString('latin1', 7, 23) < 'key:000000000300' ? found : HEADER));
  const createTarget = (own: LoadPlan) => createEtcdTarget('127.0.0.1', [etcd.port], own);
  const result = await runLoad({ ...plan, mix: [1, 0, 0, 0, 0] }, { kind: 'here', createTarget });
  etcd.server.close();
  t.is(etcd.calls[0]?.path, '/etcdserverpb.KV/Range');
  t.is(result.operations, 1000);
  t.is(result.misses, 700);
});

test('an answer without a message is an error', async (t) => {
  let count = 0;
  const etcd = await startFakeEtcd(() => (count++ % 4 === 0 ? null : HEADER));
  const createTarget = (own: LoadPlan) => createEtcdTarget('127.0.0.1', [etcd.port], own);
  const result = await runLoad(plan, { kind: 'here', createTarget });
  etcd.server.close();
  t.is(result.errors, 250);
  t.is(result.operations, 750);
  t.is(result.firstError, 'etcd answered with an error');
});

test('requests wait when the server’s window is used up, and go on when it opens', async (t) => {
  const etcd = await startFakeEtcd(() => HEADER);
  const createTarget = (own: LoadPlan) => createEtcdTarget('127.0.0.1', [etcd.port], own);
  // 64 requests of 2 kB under way on one connection are twice its first window.
  const result = await runLoad({ ...plan, clients: 1, pipeline: 64, valueBytes: 2000 }, { kind: 'here', createTarget });
  etcd.server.close();
  t.is(result.operations, 1000);
  t.is(etcd.calls.length, 1000);
});
