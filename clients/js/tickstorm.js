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

import { tokenKey } from "./connection.js";
import { Lobby, LobbyError } from "./lobby.js";
import { Room } from "./room.js";

export { LobbyError, Room };

/**
 * To where `wanted` tells, or without it into a new room; but first, unless `room` is undefined,
 * back to where this tab was: in that room, or if it is null in any.
 */
async function enter(options, wanted, room) {
  const lobby = new Lobby(options);
  let place = room === undefined ? null : await lobby.back(room);
  if (!place) {
    const made = wanted ? null : await lobby.create(options);
    place = { ...made, ...await lobby.find(wanted ?? { room: made.room }) };
  }
  return Room.open(lobby, place, options);
}

/** Into the room `id` or `code`; without both into a new one, or back after a reload. */
export async function join(game, options = {}) {
  const { id, code } = options;
  const all = { ...options, game };
  return id ? joinById(id, all) : code ? joinByCode(code, all) : enter(all, null, null);
}

/** Into a public room with a free place, or a new one. */
export function joinOrCreate(game, options) {
  return enter({ ...options, game }, { quick: true }, null);
}

export { joinOrCreate as quick };

/**
 * Into a new room. More options: `settings` of the game, `title`, `public` (whether strangers
 * come in), `capacity`. `room.place` has its `code`, `link` and `owner` secret.
 */
export function create(game, options) {
  return enter({ ...options, game });
}

export function joinById(id, options = {}) {
  return enter(options, { room: id }, id);
}

/** As it is typed or read out: "k7pq-2mxw". */
export function joinByCode(code, options = {}) {
  const id = code.toUpperCase().replace(/[^0-9A-Z]/g, "");
  return enter(options, { code: id }, id);
}

/**
 * Back into a place by `room.token`, from anywhere.
 * @param {string} token
 * @param {any} options
 */
export async function reconnect(token, options = {}) {
  const lobby = new Lobby(options);
  const place = await lobby.find({ token });
  lobby.storage.setItem(tokenKey(place.room), token);
  return Room.open(lobby, place, options);
}

/** Look on, without a player. */
export function watch(id, options) {
  return enter({ ...options, watch: true }, { room: id, watch: true });
}

/**
 * Watch a stay of the past by its name, as `/replays.json` lists them; `room.seek` moves in it.
 * @param {string} name
 * @param {any} options
 */
export async function replay(name, options = {}) {
  const lobby = new Lobby(options);
  const url = lobby.socketUrl(`ws?replay=${encodeURIComponent(name)}`);
  const place = { url, room: `replay ${name}`, ticket: null, replay: name };
  return Room.open(lobby, place, { ...options, watch: true });
}
