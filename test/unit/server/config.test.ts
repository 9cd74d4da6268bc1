import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { SkerryError } from '../../../src/core/errors.ts';
import { keyFromText, parseSettings, type SettingsInput } from '../../../src/server/config.ts';
import { settingRows } from '../../../src/server/settings.ts';

const machine = { parallelism: 4, memoryBytes: 8 * 2 ** 30 };

/** The message of the refusal; fails when there is none. */
function refusal(input: SettingsInput): string {
  try {
    parseSettings({ machine, ...input });
  } catch (error) {
    if (error instanceof SkerryError && error.code === 'KV_INVALID') return error.message;
    throw error;
  }
  throw new Error('these settings were accepted');
}

const size = (maxMemory: unknown): number => parseSettings({ machine, flags: { maxMemory } }).memory.maxMemoryBytes;
const split = (preSplit: unknown): readonly string[] => parseSettings({ machine, flags: { preSplit } }).ranges.preSplit;

test('without anything given, the defaults follow the machine', (t) => {
  const settings = parseSettings({ machine });
  t.is(settings.threads.workers, 3);
  t.is(settings.memory.maxMemoryBytes, 6 * 2 ** 30);
  t.is(settings.network.port, 7370);
  t.is(settings.network.respPort, 7379);
  t.is(settings.network.httpPort, 7371);
  t.is(settings.recovery.maxRecoverySeconds, 10);
  t.is(settings.node.walDir, join('data', 'wal'));
  t.deepEqual(settings.ranges.preSplit, []);
});

const workersOn = (parallelism: number): number =>
  parseSettings({ machine: { ...machine, parallelism } }).threads.workers;

test('one CPU is left to the log and to callers, and there is a worker on the smallest machine', (t) => {
  t.deepEqual([1, 2, 3, 1000].map(workersOn), [1, 1, 2, 256]);
});

test('every default is itself allowed', (t) => {
  for (const { path, setting } of settingRows) {
    if (['node.walDir', 'cluster.advertise', 'cluster.nodeName'].includes(path)) continue;
    t.true(setting.schema.safeParse(setting.defaultOf(machine)).success, path);
    t.true(setting.defaultText.length > 0, path);
  }
});

test('no two settings share a flag or a variable', (t) => {
  t.is(new Set(settingRows.map((row) => row.flag)).size, settingRows.length);
  t.is(new Set(settingRows.map((row) => row.variable)).size, settingRows.length);
});

test('a flag wins over the environment, the environment over the file, the file over the default', (t) => {
  const values = { network: { port: 1001, respPort: 1002, httpPort: 1003 } };
  const env = { SKERRY_PORT: '2001', SKERRY_RESP_PORT: '2002' };
  const { network } = parseSettings({ machine, values, env, flags: { port: '3001', host: undefined } });
  t.is(network.port, 3001);
  t.is(network.respPort, 2002);
  t.is(network.httpPort, 1003);
  t.is(network.host, '127.0.0.1');
});

test('a configuration file is read by --config or SKERRY_CONFIG, and its mistakes name it', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'skerry-config-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const file = join(folder, 'skerry.json');
  writeFileSync(file, '{ "node": { "dataDir": "/srv/skerry" }, "memory": { "maxMemoryBytes": "2gb" } }');
  const settings = parseSettings({ machine, flags: { config: file } });
  t.is(settings.node.dataDir, '/srv/skerry');
  t.is(settings.node.walDir, '/srv/skerry/wal');
  t.is(settings.memory.maxMemoryBytes, 2 * 2 ** 30);
  t.is(parseSettings({ machine, env: { SKERRY_CONFIG: file } }).node.dataDir, '/srv/skerry');

  writeFileSync(file, '{ "network": { "port": "no" } }');
  t.is(
    refusal({ flags: { config: file } }),
    `Invalid setting: ${file}: network.port is "no"; allowed: a whole number from 0 to 65535`,
  );
  writeFileSync(file, '{ network: }');
  t.regex(refusal({ flags: { config: file } }), /skerry\.json is not JSON: /);
  t.regex(refusal({ flags: { config: join(folder, 'absent.json') } }), /absent\.json cannot be read: ENOENT/);
});

test('an unknown name is refused with the nearest known one', (t) => {
  t.regex(refusal({ flags: { dataDirr: 'x' } }), /dataDirr is not a setting; did you mean dataDir\?/);
  t.regex(
    refusal({ env: { SKERRY_RSEP_PORT: '1' } }),
    /SKERRY_RSEP_PORT is not a setting; did you mean SKERRY_RESP_PORT\?/,
  );
  t.regex(refusal({ values: { netwrk: {} } }), /netwrk is not a setting; did you mean network\?/);
  t.regex(
    refusal({ values: { network: { prot: 1 } } }),
    /network\.prot is not a setting; did you mean network\.port\?/,
  );
  t.regex(refusal({ values: { maxMemoryBytes: 1 } }), /did you mean memory\.maxMemoryBytes\?/);
  t.regex(refusal({ values: { node: { port: 1 } } }), /node\.port is not a setting; did you mean network\.port\?/);
});

test('a refusal says which setting, what was given and what is allowed, for all mistakes at once', (t) => {
  const message = refusal({ flags: { workers: '0', maxMemory: '12 parsecs' }, env: { SKERRY_LOG_LEVEL: 'loud' } });
  t.deepEqual(message.split('\n').slice(1).toSorted(), [
    '  --max-memory is "12 parsecs"; allowed: a size from 64 MiB to 64 TiB, such as 65536, 512mb or 2gb',
    '  --workers is "0"; allowed: a whole number from 1 to 256',
    '  SKERRY_LOG_LEVEL is "loud"; allowed: one of trace, debug, info, warn, error, fatal, silent',
  ]);
});

test('settings that contradict each other are refused', (t) => {
  t.regex(refusal({ flags: { respPort: '7370' } }), /--resp-port and --port are both 7370/);
  t.regex(refusal({ flags: { raftHeartbeatIntervalMs: 400 } }), /at least three heartbeats/);
  t.regex(refusal({ flags: { walRing: '64mb' } }), /a ring smaller than a segment/);
  t.notThrows(() => parseSettings({ machine, flags: { port: 0, respPort: 0, httpPort: 0 } }));
});

test('a file that is no object of groups is refused', (t) => {
  t.regex(refusal({ values: [] }), /not an object of groups/);
  t.regex(refusal({ values: null }), /not an object of groups/);
  t.regex(refusal({ values: { network: 7370 } }), /network is 7370; allowed: an object of settings/);
});

test('sizes are read in powers of 1024, whatever the case of the unit', (t) => {
  t.is(size('512mb'), 512 * 2 ** 20);
  t.is(size('512 MiB'), 512 * 2 ** 20);
  t.is(size('1.5G'), 1.5 * 2 ** 30);
  t.is(size('67108864'), 64 * 2 ** 20);
  t.is(size(67108864), 64 * 2 ** 20);
  for (const bad of ['', 'mb', '-1gb', '1e9', '12qb', null, {}])
    t.regex(refusal({ flags: { maxMemory: bad } }), /--max-memory is/);
  t.regex(refusal({ flags: { walRing: '9mb' } }), /a power of two/);
  t.regex(refusal({ flags: { walSegment: '67108865' } }), /a multiple of 1 MiB/);
});

test('keys to split at are sorted as bytes, each once, and may hold any byte', (t) => {
  t.deepEqual(split('m,c,\\xff,m'), ['c', 'm', '\\xff']);
  t.deepEqual(split(['a,b', 'a']), ['a', 'a,b']);
  t.deepEqual(split(''), []);
  t.deepEqual(keyFromText('a\\x00\\\\x\\xFFé'), Buffer.from([0x61, 0, 0x5c, 0x78, 0xff, 0xc3, 0xa9]));
  t.regex(
    refusal({ flags: { preSplit: 'a,,b' } }),
    /--pre-split is "a,,b"; allowed: up to 4096 keys of 1 to 1024 bytes/,
  );
  t.regex(refusal({ flags: { preSplit: 'k'.repeat(1025) } }), /keys of 1 to 1024 bytes/);
});

test('variables that Kubernetes and Docker set for a service called skerry are passed over', (t) => {
  const env = {
    SKERRY_PORT: 'tcp://10.0.0.7:7370',
    SKERRY_PORT_7370_TCP: 'tcp://10.0.0.7:7370',
    SKERRY_PORT_7370_TCP_ADDR: '10.0.0.7',
    SKERRY_SERVICE_HOST: '10.0.0.7',
    SKERRY_SERVICE_PORT: '7370',
    PATH: '/bin',
  };
  t.is(parseSettings({ machine, env }).network.port, 7370);
});

test('settings are plain data that another thread can be given', (t) => {
  const settings = parseSettings({ machine, flags: { preSplit: 'a,b' } });
  t.deepEqual(structuredClone(settings), settings);
});

test('addresses of nodes, tiers of locality and flags that stand alone are read in all their forms', (t) => {
  const { cluster } = parseSettings({
    machine,
    flags: { join: '10.0.0.1:7380,[fd00::7]:1,n3.example:65535', locality: 'dc=ams,rack=4', bootstrap: true },
  });
  t.deepEqual(cluster.join, [
    { host: '10.0.0.1', port: 7380 },
    { host: 'fd00::7', port: 1 },
    { host: 'n3.example', port: 65_535 },
  ]);
  t.deepEqual(cluster.locality, [
    { tier: 'dc', value: 'ams' },
    { tier: 'rack', value: '4' },
  ]);
  t.true(cluster.bootstrap);
  const values = { cluster: { join: ['a:1'], bootstrap: false } };
  t.deepEqual(parseSettings({ machine, values }).cluster.join, [{ host: 'a', port: 1 }]);
  t.true(parseSettings({ machine, values, env: { SKERRY_BOOTSTRAP: 'true' } }).cluster.bootstrap);
  for (const join of ['a', 'a:', ':1', 'a:0', 'a:65536', 'a:1 b:2', '[]:1']) {
    t.regex(refusal({ flags: { join } }), /^Invalid setting: --join is .*addresses host:port/);
  }
  t.regex(refusal({ flags: { locality: 'ams' } }), /--locality is "ams"; allowed: .*name=value/);
  t.regex(refusal({ env: { SKERRY_BOOTSTRAP: 'maybe' } }), /SKERRY_BOOTSTRAP is "maybe"; allowed: true or false/);
});
