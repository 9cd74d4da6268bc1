/** What redis-benchmark prints is read by the names of its columns. */
import test from 'ava';
import { parseBenchmark } from '../../bench/peers/redis-benchmark.ts';

const HEAD =
  '"test","rps","avg_latency_ms","min_latency_ms","p50_latency_ms","p95_latency_ms","p99_latency_ms","max_latency_ms"';

test('the result of redis-benchmark --csv', (t) => {
  t.deepEqual(parseBenchmark(`${HEAD}\n"SET","161290.33","0.154","0.048","0.151","0.207","0.271","0.535"\n`), {
    perSecond: 161_290.33,
    meanMs: 0.154,
    p50Ms: 0.151,
    p99Ms: 0.271,
    maxMs: 0.535,
  });
});

test('output without a number is refused with what was printed', (t) => {
  t.throws(() => parseBenchmark(`${HEAD}\n`), { message: /printed no rps.*"test"/s });
  t.throws(() => parseBenchmark('Could not connect to Redis'), { message: /Could not connect/ });
  t.throws(() => parseBenchmark(`${HEAD}\n"SET","-nan","0","0","0","0","0","0"`), { message: /printed no rps/ });
});
