/**
 * Hosts of their own on this machine: network namespaces on one bridge, and nftables in each for what networks do wrong.
 * Wants root, and the commands `ip` and `nft`.
 *
 *     10.a.b.254 (this process) ── bridge ──┬── 10.a.b.1   namespace 1
 *                                           ├── 10.a.b.2   namespace 2
 *                                           └── 10.a.b.3   namespace 3
 */
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import type { Hosts } from './hosts.ts';

/** Not by the search path: under npm, a package of the project's tools puts another `nft` in front, which accepts everything. */
const TOOL_DIRS = ['/usr/sbin', '/sbin', '/usr/bin', '/bin'];

function toolPath(name: string): string | undefined {
  return TOOL_DIRS.map((dir) => `${dir}/${name}`).find((path) => existsSync(path));
}

function run(tool: string, ...args: string[]): string {
  return execFileSync(toolPath(tool) ?? tool, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
}

/** Why there can be no namespaces here; null when there can. */
export function namespacesMissing(): string | null {
  if (process.getuid?.() !== 0) return 'network namespaces want root';
  const missing = ['ip', 'nft'].find((tool) => toolPath(tool) === undefined);
  return missing === undefined ? null : `${missing} is not installed`;
}

export class Namespaces implements Hosts {
  readonly #id = `sk${process.pid % 100_000}`;
  readonly #net = `10.${1 + ((process.pid >> 8) % 250)}.${process.pid % 256}`;
  readonly count: number;

  constructor(count: number) {
    this.count = count;
    const bridge = this.#id;
    run('ip', 'link', 'add', bridge, 'type', 'bridge');
    run('ip', 'addr', 'add', `${this.hostAddress}/24`, 'dev', bridge);
    run('ip', 'link', 'set', bridge, 'up');
    for (let i = 1; i <= count; i++) {
      const name = this.nameOf(i);
      run('ip', 'netns', 'add', name);
      run('ip', 'link', 'add', `${this.#id}v${i}`, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', name);
      run('ip', 'link', 'set', `${this.#id}v${i}`, 'master', bridge, 'up');
      run('ip', '-n', name, 'addr', 'add', `${this.address(i)}/24`, 'dev', 'eth0');
      run('ip', '-n', name, 'link', 'set', 'eth0', 'up');
      run('ip', '-n', name, 'link', 'set', 'lo', 'up');
      this.#nft(i, 'add table inet faults');
      this.#nft(i, 'add chain inet faults in { type filter hook input priority 0; }');
    }
  }

  nameOf(i: number): string {
    return `${this.#id}n${i}`;
  }

  address(i: number): string {
    return `${this.#net}.${i}`;
  }

  /** What a process in the namespace is started by. */
  wrapper(i: number): string[] {
    return ['ip', 'netns', 'exec', this.nameOf(i)];
  }

  /** This process, as the namespaces know it. */
  get hostAddress(): string {
    return `${this.#net}.254`;
  }

  /** What `from` dials at this port of `to` is led to a port of this process instead. */
  divert(from: number, to: number, port: number, hostPort: number): void {
    this.#nft(from, 'add table ip links');
    this.#nft(from, 'add chain ip links out { type nat hook output priority -100; }');
    const dialed = `ip daddr ${this.address(to)} tcp dport ${port}`;
    this.#nft(from, `add rule ip links out ${dialed} dnat to ${this.hostAddress}:${hostPort}`);
  }

  /** Namespace `to` no longer hears what `from` says. */
  deafen(to: number, from: number): void {
    this.#nft(to, `add rule inet faults in ip saddr ${this.address(from)} drop`);
  }

  /** Nobody but this process hears from `i`, and the other way round. */
  isolate(i: number): void {
    for (let other = 1; other <= this.count; other++) {
      if (other === i) continue;
      this.deafen(i, other);
      this.deafen(other, i);
    }
  }

  /** This share of the packets that `to` is sent, of whatever kind, is lost: 0 … 100. */
  lose(to: number, percent: number): void {
    this.#nft(to, `add rule inet faults in numgen random mod 100 < ${percent} drop`);
  }

  /** All is well again. */
  heal(): void {
    for (let i = 1; i <= this.count; i++) this.#nft(i, 'flush chain inet faults in');
  }

  /** Removes everything; processes inside must be gone. */
  remove(): void {
    for (let i = 1; i <= this.count; i++) run('ip', 'netns', 'del', this.nameOf(i));
    run('ip', 'link', 'del', this.#id);
  }

  #nft(i: number, rule: string): void {
    run('ip', 'netns', 'exec', this.nameOf(i), toolPath('nft') ?? 'nft', rule);
  }
}
