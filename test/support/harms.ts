/** What labs do to their nodes in the same way, however these are connected. */
import type { ClusterLab } from './cluster-lab.ts';

/** The leader stops for longer than its lease, and goes on as if nothing had been. */
export function pauseLeader(lab: ClusterLab): Promise<void> {
  return lab.endure('the leader stops for longer than its lease', async (workload) => {
    const leader = await lab.leaderOf('a', 1);
    lab.node(leader).child.kill('SIGSTOP');
    await workload.progress(100);
    lab.node(leader).child.kill('SIGCONT');
  });
}
