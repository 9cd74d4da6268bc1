/**
 * What nodes ask of each other over control connections, and what they answer: checked here, where it comes in.
 *
 *     anybody ── hello ─▶ a node          first on every connection: who is asking whom, in which cluster
 *     a node ── ping ─▶ any node           only to be let in, or not
 *     a new node ── join ─▶ any node      ─▶ (the coordinator: where range 1 leads)
 *     a node ── announce, propose ─▶ any node ─▶ (the coordinator)
 *     a node ── split ─▶ the node that leads the range
 *     coordinator ── update ─▶ a node     the catalog and who leads which range, when they have changed
 *     coordinator ── watch ─▶ a node      answered with the node's report when it has changed, and after a while anyway:
 *                                         the answers are the heartbeats
 *     coordinator ── changeMembers, transferLeader ─▶ the node that leads the range
 *     a node ── replicaOf ─▶ a node       its report of one range, for an operator who recovers it by force
 *     coordinator ── dropReplica ─▶ the node that has it
 */
import { z } from 'zod';
import { nodeStates } from '../../core/catalog/types.ts';
import type { CatalogOp, CatalogResult, CatalogState, NodeProfile } from '../../core/catalog/types.ts';
import type { LogIndex, MemberId, NodeId, RangeId, Term } from '../../core/brands.ts';
import type { ErrorCode } from '../../core/errors.ts';
import { SkerryError } from '../../core/errors.ts';
import { limits } from '../../core/limits.ts';
import { NODE_ID_MAX, WORKERS_MAX } from '../../core/member.ts';
import type { DamagedReplica, RangeReport } from '../../core/placement/report.ts';
import type { Route } from '../../core/range.ts';

export const CONTROL_PROTOCOL = 1;
/** Frames of a connection that has not said hello yet. */
export const HELLO_BYTES_MAX = 64 * 1024;
export const FRAME_BYTES_MAX = 64 * 1024 * 1024;

const number = z.number().int().min(0).max(Number.MAX_SAFE_INTEGER);
const brandedNumber = <T extends number>() => number.transform((value) => value as T);
const nodeId = z
  .number()
  .int()
  .min(1)
  .max(NODE_ID_MAX)
  .transform((value) => value as NodeId);
const memberId = brandedNumber<MemberId>();
const rangeId = brandedNumber<RangeId>();
const port = z.number().int().min(0).max(65_535);
const word = z.string().max(256);
const key = z
  .instanceof(Uint8Array)
  .transform((value): Buffer => Buffer.from(value.buffer, value.byteOffset, value.length))
  .refine((value) => value.length <= limits.keyBytesMax);

const profileSchema: z.ZodType<NodeProfile> = z.object({
  storeId: word,
  incarnation: number,
  bootId: word,
  name: word,
  addresses: z.object({
    host: word,
    controlPort: port,
    peerPorts: z.array(port).max(WORKERS_MAX),
    workerPorts: z.array(port).max(WORKERS_MAX),
    nativePort: port,
    respPort: port,
    httpPort: port,
  }),
  workers: z.number().int().min(0).max(WORKERS_MAX),
  locality: z.array(z.object({ tier: word, value: word })).max(16),
});

/** A copy of the catalog; cluster.json is one too. */
export const catalogSchema: z.ZodType<CatalogState> = z.object({
  revision: number,
  clusterId: word,
  settings: z.object({ replicationFactor: number }),
  nodes: z.array(profileSchema.and(z.object({ nodeId, state: z.enum(nodeStates) }))),
  nextNodeId: brandedNumber<NodeId>(),
  nextRangeId: rangeId,
});

/** The changes that nodes may ask for on their own account. */
const opSchema: z.ZodType<CatalogOp> = z.discriminatedUnion('type', [
  z.object({ type: z.literal('expectNode'), name: word }),
  z.object({ type: z.literal('setNodeState'), nodeId, state: z.enum(nodeStates) }),
  z.object({ type: z.literal('setReplicationFactor'), replicationFactor: number }),
  z.object({ type: z.literal('reserveRangeIds'), count: number }),
]);

const descriptorSchema = z.object({
  rangeId,
  startKey: key,
  endKey: key.nullable(),
  epoch: z.object({ confVersion: number, version: number }),
  replicas: z.array(z.object({ memberId, role: z.enum(['voter', 'learner']) })).max(64),
});

const routeSchema: z.ZodType<Route> = z.object({
  range: descriptorSchema,
  leader: memberId,
  term: brandedNumber<Term>(),
});

const reportSchema: z.ZodType<RangeReport> = z.object({
  descriptor: descriptorSchema,
  memberId,
  leader: memberId,
  term: brandedNumber<Term>(),
  appliedIndex: brandedNumber<LogIndex>(),
  lastIndex: brandedNumber<LogIndex>(),
  lastTerm: brandedNumber<Term>(),
  isChanging: z.boolean(),
  members: z
    .array(
      z.object({ memberId, matchIndex: brandedNumber<LogIndex>(), isActive: z.boolean(), isCaughtUp: z.boolean() }),
    )
    .max(64),
  bytes: number,
});

const damagedSchema: z.ZodType<DamagedReplica> = z.object({
  rangeId,
  memberId,
  what: z.string().max(4096),
  sinceMs: number,
});

const fromCoordinator = { coordinator: nodeId, term: number };

/** Requests, by type. */
const requestSchemas = {
  hello: z.object({
    protocol: number,
    /** Empty: the asker is in no cluster yet. */
    clusterId: word,
    /** 0: it has no id yet. */
    from: number,
    storeId: word,
    incarnation: number,
    bootId: word,
    /** Whom it believes to talk to; 0: whoever it is. */
    to: number,
  }),
  ping: z.object({}),
  join: z.object({ node: profileSchema, isForwarded: z.boolean() }),
  announce: z.object({ nodeId, node: profileSchema, isForwarded: z.boolean() }),
  propose: z.object({ op: opSchema, isForwarded: z.boolean() }),
  split: z.object({ key, rangeId }),
  update: z.object({
    ...fromCoordinator,
    catalog: catalogSchema.nullable(),
    routes: z.array(routeSchema).nullable(),
    /** Nodes that the coordinator has not heard from for a while. */
    silent: z.array(number),
  }),
  watch: z.object({ ...fromCoordinator, seen: number }),
  changeMembers: z.object({
    rangeId,
    confVersion: number,
    changes: z.array(z.object({ type: z.enum(['addVoter', 'addLearner', 'remove']), id: memberId })).max(64),
    isJoint: z.boolean(),
  }),
  transferLeader: z.object({ rangeId, to: memberId }),
  replicaOf: z.object({ rangeId }),
  dropReplica: z.object({ rangeId, memberId, confVersion: number }),
} as const;

export type RequestType = keyof typeof requestSchemas;
export type RequestBody<T extends RequestType> = z.output<(typeof requestSchemas)[T]>;

const answerSchemas = {
  hello: z.object({ nodeId: number, clusterId: word }),
  ping: z.null(),
  join: z.object({ nodeId, catalog: catalogSchema }),
  announce: z.object({ catalog: catalogSchema }),
  propose: z.custom<CatalogResult>((value) => typeof (value as CatalogResult | null)?.ok === 'boolean'),
  /** Id of the right half. */
  split: z.object({ newRangeId: rangeId }),
  update: z.null(),
  watch: z.object({
    /** Number of this report; the same as `seen`: nothing new, and `ranges` is null. */
    report: number,
    ranges: z.array(reportSchema).nullable(),
    /** Replicas that were given up, and that their ranges may still count on. */
    damaged: z.array(damagedSchema),
  }),
  changeMembers: z.null(),
  transferLeader: z.null(),
  replicaOf: reportSchema.nullable(),
  dropReplica: z.null(),
} as const;

export type AnswerBody<T extends RequestType> = z.output<(typeof answerSchemas)[T]>;

/** Throws SkerryError KV_INVALID. */
export function checkRequest<T extends RequestType>(type: T, body: unknown): RequestBody<T> {
  return check(requestSchemas[type], `request ${type}`, body) as RequestBody<T>;
}

/** Throws SkerryError KV_INVALID. */
export function checkAnswer<T extends RequestType>(type: T, body: unknown): AnswerBody<T> {
  return check(answerSchemas[type], `answer to ${type}`, body) as AnswerBody<T>;
}

export const isRequestType = (type: string): type is RequestType => Object.hasOwn(requestSchemas, type);

function check(schema: z.ZodType, what: string, body: unknown): unknown {
  const result = schema.safeParse(body);
  if (result.success) return result.data;
  throw new SkerryError('KV_INVALID', `a malformed ${what}: ${z.prettifyError(result.error)}`);
}

const errorSchema = z.object({ code: z.string().startsWith('KV_'), message: z.string(), retryable: z.boolean() });

export interface WireError {
  readonly code: string;
  readonly message: string;
  readonly retryable: boolean;
}

export function toWireError(error: unknown): WireError {
  if (error instanceof SkerryError) return { code: error.code, message: error.message, retryable: error.retryable };
  return { code: 'KV_STATE', message: error instanceof Error ? error.message : String(error), retryable: false };
}

export function fromWireError(value: unknown): SkerryError {
  const result = errorSchema.safeParse(value);
  if (!result.success) return new SkerryError('KV_INVALID', 'a control connection answered with a malformed error');
  const { code, message, retryable } = result.data;
  return new SkerryError(code as ErrorCode, message, { retryable });
}
