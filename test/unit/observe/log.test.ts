import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import test from 'ava';
import { SkerryError } from '../../../src/core/errors.ts';
import { createLogger, silentLogger, type LogFormat, type LogLevel, type Logger } from '../../../src/observe/log.ts';

function collect(format: LogFormat, level: LogLevel = 'info'): { log: Logger; lines: string[] } {
  const lines: string[] = [];
  const destination = { write: (line: string) => void lines.push(line) };
  return { log: createLogger({ level, format, thread: 'worker 0', destination }), lines };
}

test('text: one line with time, level, thread, message and fields', (t) => {
  const { log, lines } = collect('text');
  log.info({ port: 7379, file: 'data/wal/1.wal', why: 'two words' }, 'listening');
  log.child({ range: 3 }).warn('split');
  t.regex(
    lines[0] ?? '',
    /^\d{4}-\d\d-\d\dT[\d:.]+Z info  \[worker 0\] listening port=7379 file=data\/wal\/1\.wal why="two words"\n$/,
  );
  t.regex(lines[1] ?? '', /warn  \[worker 0\] split range=3\n$/);
});

test('json: one object per line, the level as a word, the time in ISO', (t) => {
  const { log, lines } = collect('json');
  log.error({ err: new SkerryError('KV_CORRUPT', 'bad block', { hint: { offset: 4096 } }) }, 'cannot start');
  const line = JSON.parse(lines[0] ?? '') as Record<string, unknown>;
  t.is(line['level'], 'error');
  t.is(line['thread'], 'worker 0');
  t.is(line['msg'], 'cannot start');
  t.false(Number.isNaN(Date.parse(line['time'] as string)));
  const error = line['err'] as Record<string, unknown>;
  t.is(error['code'], 'KV_CORRUPT');
  t.deepEqual(error['hint'], { offset: 4096 });
});

test('an error is shown in one line of text, with its code, hint and stack', (t) => {
  const { log, lines } = collect('text');
  log.fatal({ err: new SkerryError('KV_CORRUPT', 'bad block', { hint: { offset: 4096 } }) }, 'cannot start');
  t.is(lines.length, 1);
  t.is(lines[0]?.indexOf('\n'), (lines[0]?.length ?? 0) - 1);
  t.regex(lines[0] ?? '', /err="SkerryError: bad block" code=KV_CORRUPT retryable=false hint=\{"offset":4096\}/);
  t.regex(lines[0] ?? '', /stack="at .*log\.test\.ts:\d+/);
});

test('no control character of a client reaches the terminal, and no key of his makes a line of its own', (t) => {
  const { log, lines } = collect('text');
  log.info({ key: 'a\u001B[2J\nfatal forged' }, 'name \u001B]0;x\u0007\r\nINFO forged \u0085 \u2028');
  t.is(lines.length, 1);
  t.regex(lines[0]?.slice(0, -1) ?? '', /^[^\p{Cc}\p{Zl}\p{Zp}]+$/u);
});

test('lines below the level are not written', (t) => {
  const { log, lines } = collect('text', 'warn');
  log.info('no');
  log.warn('yes');
  silentLogger.fatal('no');
  t.is(lines.length, 1);
});

test('threads that end at once lose no line, and lines do not mix', async (t) => {
  const script = fileURLToPath(new URL('log-threads.ts', import.meta.url));
  const child = spawn(process.execPath, [script], { stdio: ['ignore', 'ignore', 'pipe'] });
  let written = '';
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => (written += chunk));
  const exitCode = await new Promise((resolve) => child.once('close', resolve));
  t.is(exitCode, 70);
  const lines = written
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as { thread: string; number: number });
  for (const thread of ['worker 0', 'worker 1']) {
    const numbers = lines.filter((line) => line.thread === thread).map((line) => line.number);
    t.deepEqual(
      numbers,
      Array.from({ length: 2000 }, (_, i) => i),
    );
  }
  t.is(lines.at(-1)?.thread, 'main');
});
