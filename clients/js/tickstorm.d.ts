/** Types of Tickstorm's client. `tickstorm types` writes a `Game` for a game of yours. */

/** What a game declares; `join<Tag>("tag")` gives a `Room<Tag>`. */
export interface Game {
  /** The room's own fields. */
  state: object;
  /** Fields of each kind of entity, by its name. */
  entities: Record<string, object>;
  /** The name of the kind that players are. */
  player: string;
  /** Fields of the input. */
  input: object;
  /** By name: `(…arguments) => answer`. */
  messages: Record<string, (...args: any[]) => unknown>;
  /** By name: the arguments. */
  events: Record<string, any[]>;
}

/** A game about which nothing is declared. */
export interface AnyGame extends Game {
  state: any;
  entities: Record<string, any>;
  player: string;
  input: any;
  messages: Record<string, (...args: any[]) => any>;
  events: Record<string, any[]>;
}

type Stop = () => void;
type Item<T> = T extends (infer I)[] ? I : T extends Record<string, infer V> ? V : unknown;
type Key<T> = T extends any[] ? number : string;

export interface Live<F> {
  readonly id: number;
  readonly kind: string;
  /** One's own player, or owned by it. */
  readonly mine: boolean;
  /** Now, and whenever the field has changed. */
  listen<K extends keyof F & string>(field: K, callback: (value: F[K], before: F[K] | undefined) => void): Stop;
  /** For each item of a list or map, and each that is added. */
  onAdd<K extends keyof F & string>(field: K, callback: (item: Item<F[K]>, key: Key<F[K]>) => void): Stop;
  onRemove<K extends keyof F & string>(field: K, callback: (item: Item<F[K]>, key: Key<F[K]>) => void): Stop;
  onChange(callback: (entity: this) => void): Stop;
  onGone(callback: (entity: this) => void): Stop;
}

/** An entity: its fields as the server knows them now, a hidden one that isn't shown null. */
export type Entity<F> = Live<F> & Readonly<F>;

export type RoomState<G extends Game> = Entity<G["state"]> & {
  /** For each entity of a kind, and each that comes. */
  onAdd<K extends keyof G["entities"] & string>(kind: K, callback: (entity: Entity<G["entities"][K]>) => void): Stop;
  onRemove<K extends keyof G["entities"] & string>(kind: K, callback: (entity: Entity<G["entities"][K]>) => void): Stop;
};

export type Drawn<F> = { readonly id: number; readonly mine: boolean } & Readonly<F>;
export type Samples<G extends Game> = { [K in keyof G["entities"]]: Drawn<G["entities"][K]>[] };
/** Rows `0..count`, in world units; the arrays are used again for the next frame. */
export interface Columns {
  readonly count: number;
  readonly ids: Uint16Array;
  /** One's own row, or -1. */
  readonly mine: number;
  readonly x: Float32Array;
  readonly y: Float32Array;
  /** Velocity in units a second, of what moves. */
  readonly vx: Float32Array;
  readonly vy: Float32Array;
  readonly [column: string]: any;
}
export type Player<G extends Game> = Entity<G["entities"][G["player"]]>;
export type Status = "connecting" | "joining" | "playing" | "reconnecting" | "closed";

export interface Storage {
  getItem(key: string): string | null;
  setItem(key: string, value: string): void;
  removeItem(key: string): void;
}

export interface Options {
  /** The player's name. */
  name?: string;
  /** For the game's `on_auth`. */
  auth?: Record<string, unknown>;
  /** The server's address; where the page came from unless given. */
  server?: string;
  /** For the resume token; sessionStorage unless given. */
  storage?: Storage;
  /** Where there is no global one. */
  WebSocket?: unknown;
  /** A bad network to try out. */
  net?: "fair" | "far" | "bad" | { latencyMs: number; jitterMs: number; stallPercent: number; stallMs: number };
  /** The game of a room that is named otherwise. */
  game?: string;
}

export interface CreateOptions extends Options {
  /** Settings that the game declares. */
  settings?: Record<string, unknown>;
  /** The room's name. */
  title?: string;
  /** Do strangers come in? */
  public?: boolean;
  capacity?: number;
}

export interface JoinOptions extends CreateOptions {
  id?: string | null;
  code?: string | null;
}

export interface Place {
  room: string;
  /** Of a room that was created here. */
  code?: string;
  link?: string;
  owner?: string;
  [more: string]: unknown;
}

export class Room<G extends Game = AnyGame> {
  private constructor();
  readonly id: string;
  readonly game: string;
  readonly place: Place;
  readonly settings: Record<string, any>;
  readonly state: RoomState<G>;
  readonly me: Player<G> | null;
  readonly players: readonly Player<G>[];
  readonly playerId: string;
  readonly spectator: boolean;
  readonly token: string | null;
  readonly status: Status;
  readonly statusText: string;
  readonly transport: "websocket" | "sse" | "polling";
  /** Milliseconds there and back. */
  readonly rtt: number;
  /** The room's time, seconds. */
  readonly time: number;
  readonly tick: number;
  readonly tickHz: number;
  /** Of a replay. */
  readonly replaying: { tick: number; first: number; last: number; speed: number } | null;

  entities<K extends keyof G["entities"] & string>(kind: K): readonly Entity<G["entities"][K]>[];
  mine<K extends keyof G["entities"] & string>(kind: K): Entity<G["entities"][K]>[];
  get(id: number): Entity<any> | null;

  get input(): G["input"];
  set input(input: Partial<G["input"]>);
  send<M extends keyof G["messages"] & string>(name: M, ...args: Parameters<G["messages"][M]>): void;
  request<M extends keyof G["messages"] & string>(
    name: M, ...args: Parameters<G["messages"][M]>
  ): Promise<Awaited<ReturnType<G["messages"][M]>>>;
  on<E extends keyof G["events"] & string>(name: E, callback: (...args: G["events"][E]) => void): Stop;

  onJoin(callback: (player: Player<G>) => void): Stop;
  onPart(callback: (player: Player<G>) => void): Stop;
  onChange(callback: (room: this) => void): Stop;
  onDrop(callback: (text: string) => void): Stop;
  onReconnect(callback: () => void): Stop;
  onLeave(callback: (code: number, reason: string) => void): Stop;
  onStatus(callback: (status: Status, text: string) => void): Stop;

  sample(now?: number): Samples<G>;
  /** Of a crowd: one kind to draw, as columns. */
  columns(kind: string, now?: number): Columns;
  /** Numbers that a crowd's `rules()` tells pages. */
  readonly rules: Readonly<Record<string, number>>;
  predict(
    kind: G["player"],
    step: (me: { -readonly [F in keyof G["entities"][G["player"]]]: G["entities"][G["player"]][F] }, input: G["input"], dt: number) => void,
  ): void;
  leave(): void;
  /** In a replay. */
  seek(speed: number, tick?: number | null): void;
}

/** The server's no. */
export class LobbyError extends Error {
  readonly word: string;
  /** When to ask again, or 0. */
  readonly retryS: number;
}

export function join<G extends Game = AnyGame>(game: string, options?: JoinOptions): Promise<Room<G>>;
export function joinOrCreate<G extends Game = AnyGame>(game: string, options?: Options): Promise<Room<G>>;
export function quick<G extends Game = AnyGame>(game: string, options?: Options): Promise<Room<G>>;
export function create<G extends Game = AnyGame>(game: string, options?: CreateOptions): Promise<Room<G>>;
export function joinById<G extends Game = AnyGame>(id: string, options?: Options): Promise<Room<G>>;
export function joinByCode<G extends Game = AnyGame>(code: string, options?: Options): Promise<Room<G>>;
export function reconnect<G extends Game = AnyGame>(token: string, options?: Options): Promise<Room<G>>;
export function watch<G extends Game = AnyGame>(id: string, options?: Options): Promise<Room<G>>;
export function replay<G extends Game = AnyGame>(name: string, options?: Options): Promise<Room<G>>;
