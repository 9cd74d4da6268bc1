// Runs a thread whose main posts one report and ends.
import { Worker } from 'node:worker_threads';

/**
 * Starts the thread main `file` of this folder; resolves with its report when the thread has ended. Rejects when it fails or ends without
 * a report. Listens from the start on: the message and the exit of a short thread may come in one turn of the loop.
 */
export function runReporting<Report>(file: string, workerData: unknown): Promise<Report> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(new URL(file, import.meta.url), { workerData });
    const reports: Report[] = [];
    worker.on('message', (report: Report) => reports.push(report));
    worker.once('error', reject);
    worker.once('exit', (code) => {
      const [report] = reports;
      if (report === undefined) reject(new Error(`${file} ended with code ${code} and without a report`));
      else resolve(report);
    });
  });
}
