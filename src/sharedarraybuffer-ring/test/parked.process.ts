// Process and thread main: parks, has nothing else to do, and so must end.
import { createDoorbell, Doorbell } from '../index.ts';

const doorbell = new Doorbell(createDoorbell());
const parked = doorbell.park(
  () => false,
  () => process.exit(3),
);
process.stdout.write(parked ? 'parked' : 'not parked');
