/**
 * The lab's own bookkeeping. It does not believe the client: what a lane has delivered is counted here once more.
 * Pure: positions in, figures out. A position is { epoch, offset }.
 */

const LATE = 2_000; // milliseconds that a lane may have an event later than another
const KEPT = 5_000; // offsets that are remembered: to tell a repeat from a latecomer, and until all lanes have passed them

/** What one lane delivered, and whether each event came once and in order. */
export class Tally {
  delivered = 0;
  lost = 0; // ranges that the server declared
  doubled = 0;
  disordered = 0;
  #epoch = null;
  #last = -1;
  #seen = new Set();

  event({ epoch, offset }) {
    this.delivered += 1;
    if (epoch !== this.#epoch) {
      this.#epoch = epoch;
      this.#last = -1;
      this.#seen.clear();
    }
    if (this.#seen.has(offset)) this.doubled += 1;
    else if (offset < this.#last) this.disordered += 1;
    this.#last = Math.max(this.#last, offset);
    this.#seen.add(offset);
    if (this.#seen.size > KEPT) this.#seen.delete(this.#seen.values().next().value);
  }
}

/**
 * Whether all lanes delivered the same events. An event is judged once every lane has gone past it; what a lane was told is
 * lost is not counted against it. A lane's first event is where its judging begins. Those that lag are not judged, but named.
 */
export class Comparison {
  compared = 0;
  missing = 0;
  #names;
  #epochs = new Set(); // the newest last
  #lanes = new Map(); // name -> { epoch, after, last, forgotten: what it lacks and is no longer kept }
  #pending = new Map(); // key -> { epoch, offset, at: when it came first, lanes that delivered it }

  constructor(names) {
    this.#names = names;
  }

  /** `at`: milliseconds, of a clock that does not go back. */
  event(lane, { epoch, offset }, at) {
    const stand = this.#lanes.get(lane);
    if (stand?.epoch !== epoch) this.#begin(lane, epoch, offset);
    else if (offset > stand.last) [stand.last, stand.forgotten] = [offset, 0];
    if (offset > (stand?.epoch === epoch ? stand.after : offset)) this.#note(lane, epoch, offset, at);
    this.#judge();
  }

  /** Lanes that lack what another has had for a while: name -> how many events that are. */
  behind(at) {
    const found = new Map();
    const newest = [...this.#epochs].at(-1);
    for (const name of this.#names) {
      const { epoch, after = 0, last = 0, forgotten = 0 } = this.#lanes.get(name) ?? {};
      let [count, late] = [forgotten, forgotten > 0];
      for (const seen of this.#pending.values()) {
        if (seen.epoch !== newest || (seen.epoch === epoch && seen.offset <= Math.max(after, last))) continue;
        count += 1;
        late ||= at - seen.at >= LATE;
      }
      if (late) found.set(name, count);
    }
    return found;
  }

  #begin(lane, epoch, offset) {
    this.#epochs.add(epoch);
    this.#lanes.set(lane, { epoch, after: offset, last: offset, forgotten: 0 });
  }

  #note(lane, epoch, offset, at) {
    const key = `${epoch}.${offset}`;
    if (!this.#pending.has(key)) this.#pending.set(key, { epoch, offset, at, lanes: new Set() });
    this.#pending.get(key).lanes.add(lane);
    if (this.#pending.size > KEPT) this.#forget();
  }

  /** A lane is away for long: of the oldest event nothing is said any more. */
  #forget() {
    const [key, { epoch, offset }] = this.#pending.entries().next().value;
    this.#pending.delete(key);
    for (const stand of this.#lanes.values()) {
      if (stand.epoch !== epoch || stand.after >= offset) continue;
      stand.after = offset;
      if (stand.last < offset) stand.forgotten += 1;
    }
  }

  /** The lane was told that it has no claim to anything up to this position. */
  lost(lane, { epoch, offset }) {
    const stand = this.#lanes.get(lane);
    if (stand?.epoch === epoch) stand.after = Math.max(stand.after, offset);
    else this.#begin(lane, epoch, offset);
  }

  #judge() {
    const stands = [...this.#lanes.values()];
    if (stands.length < this.#names.length || stands.some(({ epoch }) => epoch !== stands[0].epoch)) return;
    const { epoch } = stands[0];
    const after = Math.max(...stands.map((stand) => stand.after));
    const last = Math.min(...stands.map((stand) => stand.last));
    for (const [key, seen] of this.#pending) {
      if (seen.epoch === epoch && seen.offset > last) break; // some lane is not there yet, nor at those behind it
      this.#pending.delete(key);
      if (seen.epoch !== epoch || seen.offset <= after) continue; // of another life, or before all lanes took part
      this.compared += 1;
      if (seen.lanes.size < this.#names.length) this.missing += 1;
    }
  }
}
