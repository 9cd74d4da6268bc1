/** Main of an I/O thread: a piscina worker that runs one task at a time; a WAL writer's task lasts as long as its log is open. */
import { runIoTask } from '../src/storage/wal/io-tasks.ts';

export default runIoTask;
