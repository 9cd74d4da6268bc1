/**
 * A disk in memory that does what disks do to the unprepared: what was not synced is lost at a crash, block by block, or
 * torn at any byte; names not synced go back; an fsync fails and takes the data with it; the disk fills up; bits flip.
 * All chance comes from a seed.
 *
 *     write ─▶ current blocks (page cache) ── datasync ─▶ durable blocks
 *                    │ crash: each dirty block becomes old, new, or new up to some byte
 *     create, rename, unlink ─▶ current names ── syncDir ─▶ durable names
 *                    │ crash: some first part of the steps since the last syncDir is kept
 */
import path from 'node:path';
import { SkerryError } from '../../src/core/errors.ts';
import { createPrng } from '../../src/core/prng.ts';
import type { Prng } from '../../src/core/prng.ts';
import type { Disk, DiskFile, DiskLock, OpenFlags } from '../../src/storage/disk.ts';

const BLOCK_BYTES = 4096;
/** Every block of zeros is this one. */
const ZEROS = Buffer.alloc(BLOCK_BYTES);

/** The process died at this operation; nothing that it would have done next happens. */
export class SimulatedCrash extends Error {
  override readonly name = 'SimulatedCrash';
}

function diskError(code: string, file: string): NodeJS.ErrnoException {
  return Object.assign(new Error(`${code}: ${file}`), { code });
}

interface Contents {
  size: number;
  /** Never written in place: a change makes a new Buffer. A missing block is zeros. */
  readonly blocks: Map<number, Buffer>;
}

interface Inode {
  readonly current: Contents;
  readonly durable: Contents;
  readonly dirty: Set<number>;
  /** Blocks besides the dirty ones may differ: the file was cut, or a sync failed. */
  isAstray: boolean;
}

type NameStep =
  | { readonly kind: 'set'; readonly name: string; readonly inode: Inode }
  | { readonly kind: 'delete'; readonly name: string }
  | { readonly kind: 'rename'; readonly from: string; readonly to: string };

export type DiskOperation = 'write' | 'sync' | 'syncDir' | 'rename' | 'unlink' | 'create' | 'truncate';

export interface DiskFaults {
  /** Called before each operation that changes something: it may throw, or be slow. */
  onOperation?: (operation: DiskOperation, file: string, count: number) => void;
  /** Operations until the process dies in the middle of one; Infinity = never. */
  crashAfter?: number;
  /** Syncs until one fails with EIO, once; the data that it should have written is gone at the next crash. */
  failSyncAfter?: number;
  /** Bytes that all files together may allocate. */
  budgetBytes?: number;
}

export class FaultyDisk implements Disk {
  faults: DiskFaults = {};
  /** Operations that changed something. */
  operations = 0;
  syncs = 0;
  #prng: Prng;
  #names = new Map<string, Inode>();
  #durableNames = new Map<string, Inode>();
  #steps: NameStep[] = [];
  #dirs = new Set<string>(['/']);
  readonly #locks = new Set<string>();

  constructor(seed = 1) {
    this.#prng = createPrng(seed);
  }

  /** An independent copy in the same state, with no faults. Files that are open stay with this one. */
  clone(seed = 1): FaultyDisk {
    const copy = new FaultyDisk(seed);
    const inodes = new Map<Inode, Inode>();
    const cloned = (inode: Inode): Inode => {
      let twin = inodes.get(inode);
      if (twin === undefined) {
        twin = {
          current: cloneContents(inode.current),
          durable: cloneContents(inode.durable),
          dirty: new Set(inode.dirty),
          isAstray: inode.isAstray,
        };
        inodes.set(inode, twin);
      }
      return twin;
    };
    for (const [name, inode] of this.#names) copy.#names.set(name, cloned(inode));
    for (const [name, inode] of this.#durableNames) copy.#durableNames.set(name, cloned(inode));
    copy.#steps = this.#steps.map((step) => (step.kind === 'set' ? { ...step, inode: cloned(step.inode) } : step));
    copy.#dirs = new Set(this.#dirs);
    return copy;
  }

  /** Power failure: what was not synced is lost as the seed says. Files that are open must not be used any more. */
  crash(choose: (file: string, block: number) => 'old' | 'new' | 'torn' = () => this.#fate()): void {
    const kept = this.#prng.below(this.#steps.length + 1);
    for (const step of this.#steps.slice(0, kept)) applyStep(this.#durableNames, step);
    this.#steps = [];
    this.#names = new Map(this.#durableNames);
    for (const [name, inode] of this.#names) {
      const { current, durable, dirty } = inode;
      if (current.size !== durable.size && this.#prng.chance(0.5)) durable.size = current.size;
      for (const block of [...dirty].sort((a, b) => a - b)) {
        const fate = choose(name, block);
        if (fate === 'old') continue;
        const fresh = current.blocks.get(block) as Buffer;
        const stale = durable.blocks.get(block) ?? ZEROS;
        const cut = fate === 'new' ? BLOCK_BYTES : this.#prng.below(BLOCK_BYTES);
        durable.blocks.set(block, Buffer.concat([fresh.subarray(0, cut), stale.subarray(cut)]));
      }
      restore(inode);
    }
    this.#locks.clear();
    this.faults = {};
  }

  /** The process dies, the machine lives: everything written stays. */
  kill(): void {
    this.#locks.clear();
    this.faults = {};
  }

  /** The process has given up, and lives. */
  unlock(): void {
    this.#locks.clear();
  }

  flipBit(file: string, offset: number, bit: number): void {
    this.patch(file, offset, Buffer.of((this.bytes(file, offset, 1)[0] as number) ^ (1 << bit)));
  }

  /** Changes bytes on the platter and in the cache, unnoticed. */
  patch(file: string, offset: number, bytes: Buffer): void {
    const inode = this.#inode(file);
    for (const contents of [inode.current, inode.durable]) writeInto(contents, bytes, offset);
  }

  bytes(file: string, offset: number, length: number): Buffer {
    const out = Buffer.alloc(length);
    readFrom(this.#inode(file).current, out, 0, length, offset);
    return out;
  }

  /** Blocks written since the last sync of the file. */
  dirtyBlocks(file: string): number[] {
    return [...this.#inode(file).dirty].sort((a, b) => a - b);
  }

  #fate(): 'old' | 'new' | 'torn' {
    const draw = this.#prng.below(5);
    return draw < 2 ? 'old' : draw < 4 ? 'new' : 'torn';
  }

  #inode(file: string): Inode {
    const inode = this.#names.get(file);
    if (inode === undefined) throw diskError('ENOENT', file);
    return inode;
  }

  /** Counts an operation; true = the process dies in it. */
  #begin(operation: DiskOperation, file: string): boolean {
    this.operations += 1;
    this.faults.onOperation?.(operation, file, this.operations);
    const { crashAfter } = this.faults;
    if (crashAfter === undefined) return false;
    if (crashAfter < 0) throw new SimulatedCrash(`long before ${operation} ${file}`);
    this.faults.crashAfter = crashAfter - 1;
    return crashAfter === 0;
  }

  #change(step: NameStep, operation: DiskOperation, file: string): void {
    if (this.#begin(operation, file)) throw new SimulatedCrash(`at ${operation} ${file}`);
    applyStep(this.#names, step);
    this.#steps.push(step);
  }

  get allocatedBytes(): number {
    let blocks = 0;
    for (const inode of new Set(this.#names.values())) blocks += inode.current.blocks.size;
    return blocks * BLOCK_BYTES;
  }

  openFile(file: string, flags: OpenFlags): DiskFile {
    let inode = this.#names.get(file);
    if (flags === 'wx+' && inode !== undefined) throw diskError('EEXIST', file);
    if (inode === undefined) {
      if (flags === 'r' || flags === 'r+' || flags === 'log') throw diskError('ENOENT', file);
      if (!this.#dirs.has(path.dirname(file))) throw diskError('ENOENT', file);
      inode = { current: emptyContents(), durable: emptyContents(), dirty: new Set(), isAstray: false };
      this.#change({ kind: 'set', name: file, inode }, 'create', file);
    }
    const opened = inode;
    if (flags === 'w+') this.#truncate(opened, file, 0);
    return {
      read: (buffer, offset, length, position) => readFrom(opened.current, buffer, offset, length, position),
      write: (buffer, offset, length, position) =>
        this.#write(opened, file, [buffer.subarray(offset, offset + length)], position),
      writev: (views, position) => this.#write(opened, file, views, position),
      datasync: () => this.#sync(opened, file),
      sync: () => this.#sync(opened, file),
      truncate: (size) => this.#truncate(opened, file, size),
      size: () => opened.current.size,
      close: () => undefined,
    };
  }

  #write(inode: Inode, file: string, views: readonly Buffer[], position: number): void {
    const dies = this.#begin('write', file);
    let bytes = views.length === 1 ? (views[0] as Buffer) : Buffer.concat(views);
    // The process dies with some of the bytes handed over.
    if (dies) bytes = bytes.subarray(0, this.#prng.below(bytes.length + 1));
    this.#allocate(inode, file, position, bytes.length);
    writeInto(inode.current, bytes, position);
    for (let block = Math.floor(position / BLOCK_BYTES); block * BLOCK_BYTES < position + bytes.length; block++) {
      if (inode.current.blocks.has(block)) inode.dirty.add(block);
    }
    if (dies) throw new SimulatedCrash(`at write ${file}`);
  }

  #allocate(inode: Inode, file: string, position: number, length: number): void {
    const { budgetBytes } = this.faults;
    if (budgetBytes === undefined) return;
    let missing = 0;
    for (let block = Math.floor(position / BLOCK_BYTES); block * BLOCK_BYTES < position + length; block++) {
      if (!inode.current.blocks.has(block)) missing += BLOCK_BYTES;
    }
    if (missing > 0 && this.allocatedBytes + missing > budgetBytes) throw diskError('ENOSPC', file);
  }

  #sync(inode: Inode, file: string): void {
    if (this.#begin('sync', file)) throw new SimulatedCrash(`at sync ${file}`);
    this.syncs += 1;
    const { failSyncAfter } = this.faults;
    if (failSyncAfter !== undefined) {
      this.faults.failSyncAfter = failSyncAfter - 1;
      if (failSyncAfter === 0) {
        // As Linux does: the pages are marked clean, stay readable, and never reach the disk.
        inode.dirty.clear();
        inode.isAstray = true;
        throw diskError('EIO', file);
      }
    }
    const { current, durable, dirty } = inode;
    for (const block of dirty) durable.blocks.set(block, current.blocks.get(block) as Buffer);
    durable.size = current.size;
    dirty.clear();
  }

  #truncate(inode: Inode, file: string, size: number): void {
    if (this.#begin('truncate', file)) throw new SimulatedCrash(`at truncate ${file}`);
    for (const block of inode.current.blocks.keys()) {
      if (block * BLOCK_BYTES >= size) {
        inode.current.blocks.delete(block);
        inode.dirty.delete(block);
        inode.isAstray = true;
      }
    }
    inode.current.size = size;
  }

  list(dir: string): string[] {
    if (!this.#dirs.has(dir)) throw Object.assign(new Error(`ENOENT: ${dir}`), { code: 'ENOENT' });
    const names = [...this.#names.keys()].filter((name) => path.dirname(name) === dir);
    const dirs = [...this.#dirs].filter((name) => name !== '/' && path.dirname(name) === dir);
    return [...names, ...dirs].map((name) => path.basename(name)).sort();
  }

  rename(from: string, to: string): void {
    this.#inode(from);
    this.#change({ kind: 'rename', from, to }, 'rename', from);
  }

  unlink(file: string): void {
    this.#inode(file);
    this.#change({ kind: 'delete', name: file }, 'unlink', file);
  }

  /** Folders are durable at once. */
  mkdir(dir: string): void {
    for (let name = dir; !this.#dirs.has(name); name = path.dirname(name)) this.#dirs.add(name);
  }

  exists(file: string): boolean {
    return this.#names.has(file) || this.#dirs.has(file);
  }

  syncDir(dir: string): void {
    if (this.#begin('syncDir', dir)) throw new SimulatedCrash(`at syncDir ${dir}`);
    const inDir = (step: NameStep): boolean => path.dirname(step.kind === 'rename' ? step.to : step.name) === dir;
    for (const step of this.#steps) if (inDir(step)) applyStep(this.#durableNames, step);
    this.#steps = this.#steps.filter((step) => !inDir(step));
  }

  freeBytes(): number {
    const { budgetBytes } = this.faults;
    return budgetBytes === undefined ? Infinity : Math.max(0, budgetBytes - this.allocatedBytes);
  }

  lockFile(file: string): DiskLock {
    if (this.#locks.has(file)) throw new SkerryError('KV_STATE', `${file} is in use`);
    this.#locks.add(file);
    return { release: () => void this.#locks.delete(file) };
  }
}

function emptyContents(): Contents {
  return { size: 0, blocks: new Map() };
}

function cloneContents({ size, blocks }: Contents): Contents {
  return { size, blocks: new Map(blocks) };
}

function applyStep(names: Map<string, Inode>, step: NameStep): void {
  if (step.kind === 'set') names.set(step.name, step.inode);
  else if (step.kind === 'delete') names.delete(step.name);
  else {
    const inode = names.get(step.from);
    if (inode === undefined) return;
    names.delete(step.from);
    names.set(step.to, inode);
  }
}

/** What is read from now on is what is durable. */
function restore(inode: Inode): void {
  const { current, durable, dirty } = inode;
  current.size = durable.size;
  if (inode.isAstray) {
    current.blocks.clear();
    for (const [block, bytes] of durable.blocks) current.blocks.set(block, bytes);
  } else {
    for (const block of dirty) {
      const kept = durable.blocks.get(block);
      if (kept === undefined) current.blocks.delete(block);
      else current.blocks.set(block, kept);
    }
  }
  inode.isAstray = false;
  dirty.clear();
}

function writeInto(contents: Contents, bytes: Buffer, position: number): void {
  let done = 0;
  while (done < bytes.length) {
    const block = Math.floor((position + done) / BLOCK_BYTES);
    const inBlock = (position + done) % BLOCK_BYTES;
    const length = Math.min(BLOCK_BYTES - inBlock, bytes.length - done);
    const part = bytes.subarray(done, done + length);
    if (length === BLOCK_BYTES && ZEROS.equals(part)) {
      contents.blocks.set(block, ZEROS);
    } else {
      const fresh = Buffer.allocUnsafe(BLOCK_BYTES);
      if (length < BLOCK_BYTES) (contents.blocks.get(block) ?? ZEROS).copy(fresh);
      part.copy(fresh, inBlock);
      contents.blocks.set(block, fresh);
    }
    done += length;
  }
  contents.size = Math.max(contents.size, position + bytes.length);
}

function readFrom(contents: Contents, buffer: Buffer, offset: number, length: number, position: number): number {
  const end = Math.min(position + length, contents.size);
  let at = position;
  while (at < end) {
    const block = Math.floor(at / BLOCK_BYTES);
    const inBlock = at % BLOCK_BYTES;
    const bytes = Math.min(BLOCK_BYTES - inBlock, end - at);
    const source = contents.blocks.get(block);
    const target = offset + at - position;
    if (source === undefined) buffer.fill(0, target, target + bytes);
    else source.copy(buffer, target, inBlock, inBlock + bytes);
    at += bytes;
  }
  return Math.max(0, end - position);
}
