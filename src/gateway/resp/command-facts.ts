/**
 * What COMMAND tells of commands beyond what the store needs to know of them: how each key is used, and tips for clients
 * that spread commands over several servers. The words are Redis's (redis.io: "Key specifications", "Command tips").
 */

/** How a run of keys is used, in Redis's words; the runs of a command by their first key. */
export interface KeyUse {
  readonly flags: readonly string[];
  readonly notes?: string;
}

const READ = 'RO access';
const CHANGE = 'RW access update';

/** Of each command, per run of keys. */
const uses: Readonly<Record<string, readonly string[]>> = {
  ...each('GET MGET GETRANGE SUBSTR TTL PTTL EXPIRETIME PEXPIRETIME GETBIT BITCOUNT BITPOS BITFIELD_RO LCS', READ),
  ...each('GETSET GETEX INCR DECR INCRBY DECRBY INCRBYFLOAT SETBIT', CHANGE),
  ...each('SET BITFIELD', `${CHANGE} variable_flags`),
  ...each('SETEX PSETEX MSET', 'OW update'),
  ...each('SETNX MSETNX', 'OW insert'),
  ...each('SETRANGE EXPIRE PEXPIRE EXPIREAT PEXPIREAT PERSIST', 'RW update'),
  ...each('DEL UNLINK', 'RM delete'),
  APPEND: ['RW insert'],
  GETDEL: ['RW access delete'],
  RENAME: ['RW access delete', 'OW update'],
  RENAMENX: ['RW access delete', 'OW insert'],
  COPY: [READ, 'OW update'],
  BITOP: ['OW update', READ],
};

const notes: Readonly<Record<string, string>> = {
  SET: 'RW and ACCESS due to the optional `GET` argument',
  GETEX: 'RW and UPDATE because it changes the TTL',
  BITFIELD: 'This command allows both access and modification of the key',
};

const EVERY_SHARD = 'request_policy:all_shards';
const KEYS_APART = 'request_policy:multi_shard';
const ALL_OK = 'response_policy:all_succeeded';
const SUM = 'response_policy:agg_sum';
const VARIES = 'nondeterministic_output';
const ANY_ORDER = 'nondeterministic_output_order';

const tips: Readonly<Record<string, readonly string[]>> = {
  ...each('DEL UNLINK EXISTS TOUCH', KEYS_APART, SUM),
  ...each('TTL PTTL TIME CLIENT|INFO CLIENT|LIST OBJECT|FREQ OBJECT|IDLETIME OBJECT|REFCOUNT OBJECT|ENCODING', VARIES),
  ...each('FLUSHDB FLUSHALL PING', EVERY_SHARD, ALL_OK),
  ...each('COMMAND COMMAND|LIST COMMAND|INFO COMMAND|DOCS', ANY_ORDER),
  MGET: [KEYS_APART],
  MSET: [KEYS_APART, ALL_OK],
  MSETNX: [KEYS_APART, 'response_policy:agg_min'],
  DBSIZE: [EVERY_SHARD, SUM],
  KEYS: [EVERY_SHARD, ANY_ORDER],
  RANDOMKEY: [EVERY_SHARD, VARIES],
  SCAN: [VARIES, 'request_policy:special'],
  INFO: [VARIES, EVERY_SHARD, 'response_policy:special'],
  'CONFIG|SET': ['request_policy:all_nodes', ALL_OK],
};

function each(names: string, ...facts: readonly string[]): Record<string, readonly string[]> {
  return Object.fromEntries(names.split(' ').map((name) => [name, facts]));
}

/** At least one; for a command that is in no table its keys are only read, or only known to be there. */
export function keyUsesOf(name: string, isWrite: boolean): readonly KeyUse[] {
  const words = uses[name] ?? [isWrite ? 'RW' : 'RO'];
  const note = notes[name];
  return words.map((flags) => ({ flags: flags.split(' '), ...(note === undefined ? {} : { notes: note }) }));
}

export function tipsOf(name: string): readonly string[] {
  return tips[name] ?? [];
}
