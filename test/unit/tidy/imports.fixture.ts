/** One of each form of import, and some that are none; read as text by source.test.ts. */
import { existsSync } from 'node:fs';
import {
  join, // import { a } from 'comment.ts'
} from 'node:path';
import type { Import } from '../../tidy/source.ts';
export { root } from '../../tidy/source.ts';

export const lazily = (): Promise<unknown> => import('../../tidy/source.ts');
export const thread = new URL('./source.test.ts', import.meta.url);
export const text = `import { b } from ${join('c', String(existsSync('d')))}`;
export type Kind = Import['kind'];
