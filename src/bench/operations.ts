/**
 * What a load is made of: kinds of operations and how often each comes. The YCSB core workloads are mixes too.
 * Source: Cooper et al., Benchmarking Cloud Serving Systems with YCSB, SoCC 2010, section 4, and its workload files.
 */
import { SkerryError } from '../core/errors.ts';

export const READ = 0;
/** Writes a key that is there. */
export const UPDATE = 1;
/** Writes a key that is not there yet, behind the last one. */
export const INSERT = 2;
/** Reads 1 to SCAN_ENTRIES_MAX entries from a key on. */
export const SCAN = 3;
/** Reads a key, then writes it: one operation, one latency. */
export const READ_MODIFY_WRITE = 4;
export type OperationKind = 0 | 1 | 2 | 3 | 4;

/** By kind. */
export const KIND_NAMES = ['read', 'update', 'insert', 'scan', 'read-modify-write'] as const;

export const SCAN_ENTRIES_MAX = 100;

export const DISTRIBUTIONS = ['uniform', 'zipfian', 'sequential', 'latest'] as const;
export type Distribution = (typeof DISTRIBUTIONS)[number];

/** Shares by kind; they add up to 1. */
export type Mix = readonly number[];

export interface Workload {
  readonly mix: Mix;
  /** Which keys are read and updated. */
  readonly distribution: Distribution;
}

const workloads: Readonly<Record<string, Workload>> = {
  'ycsb-a': { mix: [0.5, 0.5, 0, 0, 0], distribution: 'zipfian' },
  'ycsb-b': { mix: [0.95, 0.05, 0, 0, 0], distribution: 'zipfian' },
  'ycsb-c': { mix: [1, 0, 0, 0, 0], distribution: 'zipfian' },
  'ycsb-d': { mix: [0.95, 0, 0.05, 0, 0], distribution: 'latest' },
  'ycsb-e': { mix: [0, 0, 0.05, 0.95, 0], distribution: 'zipfian' },
  'ycsb-f': { mix: [0.5, 0, 0, 0, 0.5], distribution: 'zipfian' },
};

const kindsByName: Readonly<Record<string, OperationKind>> = {
  read: READ,
  get: READ,
  update: UPDATE,
  set: UPDATE,
  insert: INSERT,
  scan: SCAN,
  rmw: READ_MODIFY_WRITE,
};

/**
 * `set`, `get`, `read:95,update:5`, `ycsb-a` … `ycsb-f`. The distribution is the YCSB workload's own, else uniform.
 * Throws SkerryError KV_INVALID.
 */
export function parseWorkload(text: string): Workload {
  const known = workloads[text];
  if (known !== undefined) return known;
  const weights = KIND_NAMES.map(() => 0);
  for (const part of text.split(',')) {
    const [name = '', share = '1'] = part.split(':');
    const kind = kindsByName[name];
    const weight = Number(share);
    if (kind === undefined || !(weight >= 0)) {
      const names = [...Object.keys(kindsByName), ...Object.keys(workloads)].join(', ');
      throw new SkerryError('KV_INVALID', `"${text}" is no mix; write kinds with shares, get:95,set:5, from: ${names}`);
    }
    weights[kind] = (weights[kind] as number) + weight;
  }
  const sum = weights.reduce((total, weight) => total + weight, 0);
  if (sum === 0) throw new SkerryError('KV_INVALID', `"${text}" asks for nothing`);
  return { mix: weights.map((weight) => weight / sum), distribution: 'uniform' };
}

/** Draws kinds with the frequencies of `mix` from uniform numbers in [0, 1). */
export function createKindPicker(mix: Mix): (uniform: number) => OperationKind {
  const edges: number[] = [];
  mix.reduce((sum, share, kind) => (edges[kind] = sum + share), 0);
  const last = mix.findLastIndex((share) => share > 0) as OperationKind;
  return (uniform) => {
    for (let kind = 0; kind < last; kind++) if (uniform < (edges[kind] as number)) return kind as OperationKind;
    return last;
  };
}
