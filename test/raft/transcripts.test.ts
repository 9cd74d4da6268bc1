/**
 * The tricky scenarios, message by message, against what they should look like. After a change that is meant:
 * `node test/raft/rewrite-transcripts.ts`, and read the difference.
 */
import { readdirSync, readFileSync } from 'node:fs';
import test from 'ava';
import { runScript } from '../support/raft-script.ts';

const folder = new URL('./transcripts/', import.meta.url);

for (const file of readdirSync(folder).toSorted()) {
  const text = readFileSync(new URL(file, folder), 'utf8');
  const [title = file] = text.split('\n');
  test(`transcript: ${title.replace(/^# /, '')}`, (t) => {
    t.is(runScript(text), text);
  });
}
