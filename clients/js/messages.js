/** Messages that every room has in common, and the numbers of those of object rooms. */

export const PROTOCOL_VERSION = 1;
export const SUBPROTOCOL = "tickstorm.1";

export const HELLO = 1;
export const PING = 4;
export const LEAVE = 5;
export const SYNC = 6;
export const REPLAY = 8;
export const MOVE = 9;
export const CALL = 10;

export const WELCOME = 16;
export const SNAPSHOT = 17;
export const PONG = 21;
export const NOTICE = 22;
export const REPLAYING = 24;
export const STATE = 25;
export const PATCH = 26;
export const EVENT = 27;
export const ANSWER = 28;
export const FAULT = 29;
