/**
 * The logger. Every thread makes its own, and each line is one synchronous write to stderr: it costs some microseconds, but
 * logging is rare (nothing logs per command), and no line is lost when a thread or the process ends at once. Lines up to
 * the size of a pipe's atomic write (4 KiB) never mix with those of other threads.
 *
 *     text   2026-02-03T04:05:06.789Z info  [worker 0] listening port=7379
 *     json   {"level":"info","time":"2026-02-03T04:05:06.789Z","thread":"worker 0","port":7379,"msg":"listening"}
 */
import { pino, type DestinationStream } from 'pino';

export type LogLevel = 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal' | 'silent';
export type LogFormat = 'text' | 'json';

export interface LogMethod {
  (message: string): void;
  /** Fields are shown beside the message; an Error belongs under `err`. */
  (fields: Readonly<Record<string, unknown>>, message: string): void;
}

/** What the rest of the store needs of a logger. */
export interface Logger {
  /** The least important messages that are written; may be changed. */
  level: LogLevel;
  readonly trace: LogMethod;
  readonly debug: LogMethod;
  readonly info: LogMethod;
  readonly warn: LogMethod;
  readonly error: LogMethod;
  readonly fatal: LogMethod;
  /** A logger that adds `fields` to every line. */
  child(fields: Readonly<Record<string, unknown>>): Logger;
}

export interface LogOptions {
  readonly level: LogLevel;
  readonly format: LogFormat;
  /** Who speaks: 'main', 'worker 0', 'wal 0'. */
  readonly thread: string;
  /** Where lines go instead of stderr. `write` is called once per line, newline included. */
  readonly destination?: DestinationStream;
}

export function createLogger({ level, format, thread, destination }: LogOptions): Logger {
  const sink = destination ?? pino.destination({ dest: 2, sync: true });
  const options = {
    level,
    base: { thread },
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label: string) => ({ level: label }) },
  };
  const stream = format === 'json' ? sink : { write: (line: string) => sink.write(textLine(line)) };
  return pino(options, stream) as Logger;
}

/** For what runs without a node around it. */
export const silentLogger: Logger = pino({ level: 'silent' }) as Logger;

/** A JSON line as text for people. */
function textLine(line: string): string {
  const { level, time, thread, msg, ...fields } = JSON.parse(line) as Record<string, unknown>;
  const words = Object.entries(fields).map(([name, value]) =>
    name === 'err' ? errorText(value) : `${name}=${quoted(value)}`,
  );
  const head = `${String(time)} ${String(level).padEnd(5)} [${String(thread)}]`;
  return `${[head, ...(msg === undefined ? [] : [printable(String(msg))]), ...words].join(' ')}\n`;
}

function errorText(value: unknown): string {
  if (typeof value !== 'object' || value === null) return `err=${quoted(value)}`;
  const { stack, type, name: _name, message, ...rest } = value as Record<string, unknown>;
  const details = Object.entries(rest).map(([name, detail]) => `${name}=${quoted(detail)}`);
  const frames = String(stack)
    .split('\n')
    .filter((frame) => /^\s+at /.test(frame))
    .map((frame) => frame.trim());
  return [
    `err=${quoted(`${String(type)}: ${String(message)}`)}`,
    ...details,
    `stack=${quoted(frames.join(' | '))}`,
  ].join(' ');
}

function quoted(value: unknown): string {
  if (typeof value !== 'string') return printable(JSON.stringify(value) ?? 'undefined');
  return /^[\w.:/@+-]+$/.test(value) ? value : printable(JSON.stringify(value));
}

/** Clients choose keys and names: no control character of theirs reaches a terminal, nor does a line break. */
function printable(text: string): string {
  return text.replaceAll(
    /[\p{Cc}\p{Zl}\p{Zp}]/gu,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}
