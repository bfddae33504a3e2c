// What this browser keeps of boards: the outbox of each window, and each board as it was last seen. The engine calls
// it (`client/web/engine/src/store.rs`); what the pieces hold is known to `client/src/journal.rs` alone.
//
// The database has the tables `outbox` (key: place, key of the window, number of the op, or 0 for the head), `board`
// (key: place) and `seen` (key: place; when its board was stored, and its bytes). A place is a board by a link.
//
// It is JavaScript, because the same in the engine's module is six times as much to download. Comments stand on lines
// of their own: the build drops them.

// Bytes of boards that are kept: the ones that were stored longest ago go first.
const BOARDS_BYTES_MAX = 32 << 20;
// Windows of one board whose keys are tried before a new one is made.
const KEYS_TRIED_MAX = 32;
// How often, and how long apart in milliseconds, the key of a window that has left something is asked for: one that is
// just being reloaded may not have let go of it yet.
const TRIES = 5;
const TRY_MS = 60;
// The longest wait for what was kept, in milliseconds; after that the board is opened without.
const OPEN_MS_MAX = 2000;

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// What a request, or a transaction, comes to.
const answer = (request) => new Promise((resolve, reject) => {
  request.onsuccess = request.oncomplete = () => resolve(request.result);
  request.onerror = request.onabort = reject;
});

const connect = () => {
  const request = indexedDB.open("chalkboard", 1);
  request.onupgradeneeded = () =>
    ["outbox", "board", "seen"].forEach((table) => request.result.createObjectStore(table));
  return answer(request);
};

// What lets go of a lock again, which is held until a promise is kept; nothing where another window holds it. Without
// locks there is no store.
const lock = (name) => new Promise((resolve, reject) => {
  navigator.locks
    .request(name, { ifAvailable: true }, (held) => held ? new Promise(resolve) : resolve())
    .catch(reject);
});

// Takes over the key of a window of this place that has gone, best one that has left ops, or, unless only that is
// wanted, makes a new one. No two windows ever hold the same.
const claim = async (database, place, onlyLeft) => {
  for (let tries = onlyLeft ? 1 : TRIES; tries--;) {
    const keys = await answer(database.transaction("outbox").objectStore("outbox")
      .getAllKeys(IDBKeyRange.bound([place], [place, []])));
    const [left, others] = [new Set(), new Set()];
    keys.forEach(([, key, number]) => (number ? left : others).add(key));
    // Of those that have left nothing one is as good as another.
    const wanted = onlyLeft || left.size && tries < TRIES - 1 ? [...left] : [...new Set([...left, ...others])];
    for (const key of wanted.slice(0, KEYS_TRIED_MAX)) {
      const release = await lock(`chalkboard/${place}/${key}`);
      if (release) return [key, release];
    }
    if (onlyLeft || !left.size) break;
    await sleep(TRY_MS);
  }
  if (onlyLeft) throw 0;
  const key = crypto.randomUUID();
  return [key, await lock(`chalkboard/${place}/${key}`)];
};

const open = async (place, onlyLeft) => {
  const database = await connect();
  const [key, release] = await claim(database, place, onlyLeft);
  const outboxRange = (from, to) => IDBKeyRange.bound([place, key, from], [place, key, to]);
  const reading = database.transaction(["outbox", "board"]);
  const ops = answer(reading.objectStore("outbox").getAll(outboxRange(0, Infinity)));
  const board = answer(reading.objectStore("board").get(place));
  // The key's bytes, the board if there is one, the head and the ops.
  const kept = [Uint8Array.from(key.match(/\w\w/g), (digits) => parseInt(digits, 16)), await board, ...await ops];
  let pieces = [];
  return {
    // The next piece of what was kept.
    next: () => kept.shift(),
    // A piece of a change of the outbox: the head, numbered 0, or an op.
    put: (number, piece) => pieces.push([number, piece.slice()]),
    // Stores the change, and forgets the ops before a number; none of it where that fails.
    keep: async (first) => {
      const writing = database.transaction("outbox", "readwrite");
      const outbox = writing.objectStore("outbox");
      outbox.delete(outboxRange(.5, first - .5));
      pieces.forEach(([number, piece]) => outbox.put(piece, [place, key, number]));
      pieces = [];
      await answer(writing);
    },
    // Stores the board, and forgets those that are too much with it. Where that fails, the next one may do.
    keepBoard: (board) => {
      const writing = database.transaction(["board", "seen"], "readwrite");
      const [boards, seen] = [writing.objectStore("board"), writing.objectStore("seen")];
      boards.put(board.slice(), place);
      seen.put([Date.now(), board.length], place);
      const places = seen.getAllKeys();
      const notes = seen.getAll();
      notes.onsuccess = () => {
        let bytes = 0;
        notes.result.map(([when, size], at) => [when, size, places.result[at]])
          .sort((a, b) => b[0] - a[0])
          .forEach(([, size, place]) => {
            bytes += size;
            if (bytes > BOARDS_BYTES_MAX) {
              boards.delete(place);
              seen.delete(place);
            }
          });
      };
    },
    // Lets another window have the key.
    release: () => {
      release();
      database.close();
    },
  };
};

self.chalkboardStore = {
  // A store for a window; only one of a window that has gone and has left ops, if that is wanted. Fails where there is
  // none, or not in time.
  open: (place, onlyLeft) => {
    const opening = open(place, onlyLeft);
    let isLate;
    return Promise.race([
      opening.then((store) => (isLate && store.release(), store)),
      sleep(OPEN_MS_MAX).then(() => {
        isLate = true;
        throw 0;
      }),
    ]);
  },
};
