/** Error replies that a range gives by itself. The words are part of the protocol: docs/errors.md lists them. */

/** The command was not and will not be applied. */
export const NOT_LEADER =
  'NOTLEADER leadership of the range moved while the command was under way; nothing was done, try again';
export const RANGE_MOVED = 'RANGEMOVED the boundaries of the range have changed; try again';
export const UNKNOWN_RESULT =
  'UNKNOWNRESULT the write was handed to the log and was not confirmed in time; it may or may not happen';
