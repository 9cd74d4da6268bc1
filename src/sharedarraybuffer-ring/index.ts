// A byte ring between two threads over one SharedArrayBuffer, and the doorbell that wakes a parked one. See README.md.
export { createRing } from './layout.ts';
export type { RingOptions } from './layout.ts';
export { RingProducer } from './producer.ts';
export { RingConsumer } from './consumer.ts';
export { createDoorbell, Doorbell } from './doorbell.ts';
