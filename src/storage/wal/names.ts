/** Names of a WAL directory that others need without the rest of the log. */

/** The lock that one process at a time holds on a WAL directory. */
export const LOCK_NAME = 'LOCK';
