/** Repeats what may succeed a little later. */
import { SkerryError } from '../../core/errors.ts';

const PAUSE_MS = 100;

/** Other nodes' errors that time or another node may cure. */
function isPassing(error: unknown): boolean {
  return (
    error instanceof SkerryError && (error.retryable || error.code === 'KV_NETWORK' || error.code === 'KV_TIMEOUT')
  );
}

/** What `attempt` resolves with; its last error when it has not succeeded by the deadline, or fails for good. */
export async function retrying<T>(deadlineMs: number, attempt: () => Promise<T>): Promise<T> {
  const endMs = performance.now() + deadlineMs;
  for (;;) {
    try {
      return await attempt();
    } catch (error) {
      if (!isPassing(error) || performance.now() >= endMs) throw error;
    }
    await new Promise((resolve) => {
      setTimeout(resolve, PAUSE_MS);
    });
  }
}
