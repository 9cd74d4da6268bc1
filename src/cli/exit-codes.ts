/** What the process ends with. */
export const EXIT_FAILED = 1;
export const EXIT_USAGE = 2;
export const EXIT_NOT_FOUND = 3;
/** 128 and the signal's number, as shells have it. */
export const EXIT_INTERRUPTED = 130;
