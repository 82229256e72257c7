/**
 * Tickstorm's client. A page joins a room by one of the verbs, each a promise of a `Room`:
 *
 * ```js
 * import { join } from "/tickstorm.js";
 * const room = await join("tag", { id: location.hash.slice(1), name: "Ada" });
 * location.hash = room.id;
 * room.on("over", (winner) => say(`${winner} wins`));
 * function frame(now) {
 *   room.input = { dx, dy };
 *   for (const walker of room.sample(now).walker) draw(walker);
 *   requestAnimationFrame(frame);
 * }
 * ```
 *
 * `options` of all verbs: `name` of the player, `auth` for the game's `on_auth`, `server` (where
 * the page came from unless told), `storage` for the resume token (sessionStorage), `WebSocket`
 * where there is no global one, `net` (a bad network to try out: "fair", "far" or "bad").
 */

import { Lobby, LobbyError } from "./lobby.js";
import { Room } from "./room.js";
import { tabStorage } from "./storage.js";

export { LobbyError, Room };

function lobbyFor(game, options) {
  return new Lobby(game, options.server, options.storage ?? tabStorage());
}

/** Come back to where this tab was, else go where `wanted()` tells. */
async function enter(game, options, room, wanted) {
  const lobby = lobbyFor(game, options);
  const place = await lobby.back(room) ?? await lobby.find(wanted);
  return Room.open(lobby, place, options);
}

/** Into the room `id` or `code`; without both into a new one, or back after a reload. */
export function join(game, options = {}) {
  if (options.id) return joinById(options.id, { ...options, game });
  if (options.code) return joinByCode(options.code, { ...options, game });
  return lobbyFor(game, options).back().then((place) => place
    ? Room.open(lobbyFor(game, options), place, options) : create(game, options));
}

/** Into a public room with a free place, or a new one. */
export function joinOrCreate(game, options = {}) {
  return enter(game, options, null, { quick: true });
}

export { joinOrCreate as quick };

/**
 * Into a new room. More options: `settings` of the game, `title`, `public` (whether strangers
 * come in), `capacity`. `room.place` has its `code`, `link` and `owner` secret.
 */
export async function create(game, options = {}) {
  const lobby = lobbyFor(game, options);
  const made = await lobby.create(options);
  const place = await lobby.find({ room: made.room });
  return Room.open(lobby, { ...made, ...place }, options);
}

export function joinById(id, options = {}) {
  return enter(options.game, options, id, { room: id });
}

/** As it is typed or read out: "k7pq-2mxw". */
export function joinByCode(code, options = {}) {
  const id = code.toUpperCase().replace(/[^0-9A-Z]/g, "");
  return enter(options.game, options, id, { code: id });
}

/** Back into a place by `room.token`, from anywhere. */
export async function reconnect(token, options = {}) {
  const lobby = lobbyFor(options.game, options);
  const place = await lobby.find({ token });
  lobby.storage.setItem(`tickstorm.token ${place.room}`, token);
  return Room.open(lobby, place, options);
}

/** Look on, without a player. */
export async function watch(id, options = {}) {
  const lobby = lobbyFor(options.game, options);
  const place = await lobby.find({ room: id, watch: true });
  return Room.open(lobby, place, { ...options, watch: true });
}

/** Watch a stay of the past by its name, as `/replays.json` lists them; `room.seek` moves in it. */
export function replay(name, options = {}) {
  const lobby = lobbyFor(options.game, options);
  const url = lobby.socketUrl(`ws?replay=${encodeURIComponent(name)}`);
  const place = { url, room: `replay ${name}`, ticket: null, replay: name };
  return Room.open(lobby, place, { ...options, watch: true });
}
