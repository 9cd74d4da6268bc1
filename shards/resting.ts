/**
 * The groups of this worker that rest, and the workers of other nodes that they rest on. One beat to each of those stands for
 * the heartbeats of all leaders here that have followers there; its answer, for all of theirs.
 *
 *     leaders here ── offers ─▶ beat ─▶ followers there, told that they are heard of
 *                  ◀─ taken ── answer ◀─ for those that rest there, all at once
 *
 * A partnership is named by a session at either end. Invariant: whoever changes its session answers for nobody at rest, and
 * whoever sees the other's change counts on nobody: both wake all groups that rest on the pair. So a follower that leaves
 * its rest on its own account ends the session, and no answer speaks for it any more; what a leader wakes, it tells by its
 * messages.
 *
 * Beats are made and answered in the worker's turn, never beside it: a worker that is stuck is not heard of.
 */
import type { MemberId } from '../src/core/brands.ts';
import type { Beat, RestTaken } from '../src/core/beat.ts';
import type { RestOffer } from '../src/core/raft/types.ts';
import type { Message } from '../src/core/raft/types.ts';
import type { Replica } from './replica.ts';

export interface RestingPorts {
  /** The worker that a member lives on (core/member.ts workerId). */
  readonly workerOf: (member: MemberId) => number;
  /** May lose it, or bring it twice or late. */
  readonly send: (worker: number, beat: Beat) => void;
  readonly replicaOf: (rest: RestTaken) => Replica | undefined;
  /** The group is ticked again from now on. */
  readonly woke: (replica: Replica) => void;
  /** It is not. */
  readonly rested: (replica: Replica) => void;
}

export interface RestingOptions {
  readonly electionTicks: number;
  /** Unlike that of any other start of a worker: below 2^32. */
  readonly boot: number;
}

/** A leader wakes when its offer has not been taken by then. */
const OFFER_TICKS_MAX = 3;
/** Election timeouts that are shorter leave no time to offer. */
const ELECTION_TICKS_MIN = 2 * OFFER_TICKS_MAX;
/** A worker is looked for so many ticks after a leader asked for it last. */
const WANTED_TICKS = 4;
const SESSIONS_PER_BOOT = 2 ** 20;

/** A worker of another node. */
interface Partner {
  readonly worker: number;
  session: number;
  /** 0: it has not answered in this session. */
  peerSession: number;
  /** When its last beat came in. */
  heardTick: number;
  /** When the last beat left that it has answered. */
  ackedTick: number;
  /** Since when it is sent a beat every tick. */
  askedTick: number;
  wantedTick: number;
  readonly led: Set<Replica>;
  readonly followed: Set<Replica>;
  offers: RestTaken[];
}

interface RestingMember {
  readonly id: MemberId;
  readonly partner: Partner;
  /** Beats count for it: an answer has said that it rests. */
  isBound: boolean;
  /** It was not there when the rest began, so it is not asked. */
  readonly isAbsent: boolean;
}

interface Rest {
  readonly replica: Replica;
  readonly sinceTick: number;
  /** Up to when its core has been lent time. */
  lentTick: number;
  /** Of a leader; null for a follower. */
  readonly offer: RestOffer | null;
  /** Of a leader: the others. Of a follower: its leader. */
  readonly members: readonly RestingMember[];
}

export class RestingGroups {
  readonly #ports: RestingPorts;
  readonly #options: RestingOptions;
  readonly #partners = new Map<number, Partner>();
  readonly #rests = new Map<Replica, Rest>();
  /** Offered and not taken by everybody yet. */
  readonly #offered = new Set<Rest>();
  #sessions = 0;
  #tick = 0;

  constructor(options: RestingOptions, ports: RestingPorts) {
    this.#options = options;
    this.#ports = ports;
  }

  /** How many groups rest here. */
  get count(): number {
    return this.#rests.size;
  }

  /** A leader that nobody has asked anything of for a while, once a tick: before it is ticked: whether it rests from now on. */
  consider(replica: Replica): boolean {
    const { raft } = replica;
    if (this.#options.electionTicks < ELECTION_TICKS_MIN || !replica.isIdle) return false;
    const members: RestingMember[] = [];
    let isKnown = true;
    const isAbsent = (id: MemberId): boolean => {
      const partner = this.#partner(this.#ports.workerOf(id));
      const isGone = partner.peerSession === 0 && this.#isSilent(partner);
      if (partner.peerSession === 0 && !isGone) isKnown = false;
      partner.wantedTick = this.#tick;
      members.push({ id, partner, isBound: false, isAbsent: isGone });
      return isGone;
    };
    if (!raft.mayRest(isAbsent) || !isKnown) return false;
    const rest = { replica, sinceTick: this.#tick, lentTick: this.#tick, offer: raft.rest(), members };
    this.#begin(rest);
    this.#offered.add(rest);
    for (const { partner } of members) partner.led.add(replica);
    return true;
  }

  /** Time has passed: what rests on somebody silent wakes, beats leave. Groups that are awake have been ticked. */
  tick(count: number): void {
    this.#tick += count;
    for (const partner of this.#partners.values()) {
      const isLed = this.#isAsked(partner) && partner.peerSession !== 0 && this.#isSilent(partner);
      const isFollowed = partner.followed.size > 0 && this.#tick - partner.heardTick >= this.#options.electionTicks;
      if (isLed || isFollowed) this.#break(partner);
    }
    for (const rest of this.#offered) this.#offer(rest);
    for (const partner of this.#partners.values()) {
      if (this.#isAsked(partner)) this.#beat(partner);
      else partner.askedTick = this.#tick;
    }
  }

  /** A beat came in. Ticks have been paid. */
  receive(worker: number, beat: Beat): void {
    const partner = this.#partner(worker);
    if (beat.isAnswer && beat.peerSession !== partner.session) return;
    if (beat.session !== partner.peerSession) {
      // Another life of it, or it woke one that this worker counted on; or a beat of an earlier life that comes late. Then the
      // present one still counts on the followers that wake here.
      if (partner.followed.size > 0) this.#break(partner);
      else this.#wakeAll(partner);
      partner.peerSession = beat.session;
      partner.ackedTick = -Infinity;
      partner.askedTick = this.#tick;
    }
    if (beat.isAnswer) this.#answered(partner, beat);
    else this.#answer(partner, beat);
  }

  /** Lends a core at rest the time that has passed, and what its partners' beats are worth. */
  lend(replica: Replica): void {
    const rest = this.#rests.get(replica);
    if (rest === undefined || rest.lentTick === this.#tick) return;
    this.#lend(rest);
  }

  /** Wakes a group for something that begins here. */
  wake(replica: Replica): void {
    const rest = this.#rests.get(replica);
    if (rest === undefined) return;
    this.#lend(rest);
    this.#rests.delete(replica);
    this.#offered.delete(rest);
    for (const { partner } of rest.members) {
      partner.led.delete(replica);
      partner.followed.delete(replica);
    }
    replica.raft.wake();
    this.#ports.woke(replica);
  }

  /** A message for a group at rest is about to be stepped. */
  stirred(replica: Replica, message: Message): void {
    this.lend(replica);
    const stirring = replica.raft.stirredBy(message);
    if (stirring === 'wakes') this.wake(replica);
    else if (stirring === 'breaks') this.leave(replica);
  }

  /** Wakes a group here, also for those that count on it: it has left its rest on its own account. */
  leave(replica: Replica): void {
    for (const { partner } of this.#rests.get(replica)?.members ?? []) this.#break(partner);
  }

  /** The way to a worker is cut off. */
  unreachable(worker: number): void {
    const partner = this.#partners.get(worker);
    if (partner !== undefined && partner.led.size + partner.followed.size > 0) this.#break(partner);
  }

  #partner(worker: number): Partner {
    const known = this.#partners.get(worker);
    if (known !== undefined) return known;
    const partner: Partner = {
      worker,
      session: this.#nextSession(),
      peerSession: 0,
      heardTick: this.#tick,
      ackedTick: -Infinity,
      askedTick: this.#tick,
      wantedTick: -Infinity,
      led: new Set(),
      followed: new Set(),
      offers: [],
    };
    this.#partners.set(worker, partner);
    return partner;
  }

  #nextSession(): number {
    return this.#options.boot * SESSIONS_PER_BOOT + ++this.#sessions;
  }

  /** Whether it is sent beats. */
  #isAsked({ led, wantedTick }: Partner): boolean {
    return led.size > 0 || this.#tick - wantedTick < WANTED_TICKS;
  }

  #isSilent({ ackedTick, askedTick }: Partner): boolean {
    return this.#tick - Math.max(ackedTick, askedTick) >= this.#options.electionTicks;
  }

  #break(partner: Partner): void {
    this.#wakeAll(partner);
    partner.session = this.#nextSession();
    partner.peerSession = 0;
  }

  #wakeAll({ led, followed }: Partner): void {
    for (const replica of [...led, ...followed]) this.wake(replica);
  }

  #begin(rest: Rest): void {
    this.#rests.set(rest.replica, rest);
    this.#ports.rested(rest.replica);
  }

  #lend(rest: Rest): void {
    const { replica, members } = rest;
    const isLeader = rest.offer !== null;
    replica.raft.restedFor(this.#tick - rest.lentTick, (id) => {
      const member = members.find((other) => other.id === id);
      if (member === undefined || !member.isBound) return Infinity;
      return this.#tick - (isLeader ? member.partner.ackedTick : member.partner.heardTick);
    });
    rest.lentTick = this.#tick;
  }

  #offer(rest: Rest): void {
    const { replica, offer, members } = rest;
    if (this.#tick - rest.sinceTick >= OFFER_TICKS_MAX) {
      this.wake(replica);
    } else if (offer !== null) {
      const { descriptor, raft } = replica;
      for (const { id, partner, isBound, isAbsent } of members) {
        if (isBound || isAbsent) continue;
        partner.offers.push({ ...offer, rangeId: descriptor.rangeId, from: raft.id, to: id });
      }
    }
  }

  #beat(partner: Partner): void {
    const { session, peerSession, offers } = partner;
    partner.offers = [];
    this.#ports.send(partner.worker, { isAnswer: false, session, peerSession, tick: this.#tick, rests: offers });
  }

  #answer(partner: Partner, { peerSession, tick, rests }: Beat): void {
    const taken: RestTaken[] = [];
    if (peerSession === partner.session) {
      partner.heardTick = this.#tick;
      for (const offer of rests) {
        if (this.#take(partner, offer)) taken.push({ ...offer, from: offer.to, to: offer.from });
      }
    }
    const answer = { isAnswer: true, session: partner.session, peerSession: partner.peerSession, tick, rests: taken };
    this.#ports.send(partner.worker, answer);
  }

  #take(partner: Partner, offer: RestTaken): boolean {
    const replica = this.#ports.replicaOf(offer);
    if (replica === undefined || replica.raft.id !== offer.to || !replica.isIdle) return false;
    this.lend(replica);
    if (!replica.raft.restUnder(offer.from, offer)) return false;
    if (this.#rests.has(replica)) return true;
    const leader = { id: offer.from, partner, isBound: true, isAbsent: false };
    this.#begin({ replica, sinceTick: this.#tick, lentTick: this.#tick, offer: null, members: [leader] });
    partner.followed.add(replica);
    return true;
  }

  #answered(partner: Partner, { tick, rests }: Beat): void {
    if (tick > partner.ackedTick) partner.ackedTick = tick;
    for (const taken of rests) {
      const replica = this.#ports.replicaOf(taken);
      const rest = replica === undefined ? undefined : this.#rests.get(replica);
      if (rest === undefined || rest.replica.raft.id !== taken.to || rest.offer?.stamp !== taken.stamp) continue;
      const member = rest.members.find(({ id }) => id === taken.from);
      if (member === undefined || member.partner !== partner) continue;
      member.isBound = true;
      if (rest.members.every(({ isBound, isAbsent }) => isBound || isAbsent)) this.#offered.delete(rest);
    }
  }
}
