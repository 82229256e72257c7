/**
 * How a ship moves: the twin of `game/movement.py`, the same operations in the same order, each
 * rounded to float32. `tests/test_web_movement_parity.py` holds the two together, bit for bit.
 */

const f = Math.fround;

export const THRUST = 1;
export const BOOST = 2;
export const FIRE = 4;

export const DIRECTION_COUNT = 1024;

/** float32[1024]: the unit vector of each direction; y points down. */
export const DIRECTION_X = new Float32Array(DIRECTION_COUNT);
export const DIRECTION_Y = new Float32Array(DIRECTION_COUNT);
for (let i = 0; i < DIRECTION_COUNT; i++) {
  const angle = i * ((2 * Math.PI) / DIRECTION_COUNT);
  // Integers over 2**15 are exact, so both languages have the same table.
  DIRECTION_X[i] = Math.round(Math.cos(angle) * 32767) / 32768;
  DIRECTION_Y[i] = Math.round(Math.sin(angle) * 32767) / 32768;
}

/** The constants of `move`, from WELCOME's rules. */
export function movementRules(rules) {
  const names = [
    "dt", "thrust_dv", "boost_dv", "drag", "boost_energy", "regain_energy", "max_energy",
    "bounce", "low", "high",
  ];
  return Object.fromEntries(names.map((name) => [name, f(rules[name])]));
}

/** One tick: changes `ship` = {x, y, vx, vy, energy, boosting} in place. `direction`: 0..255. */
export function move(ship, direction, buttons, rules) {
  const thrusting = (buttons & THRUST) !== 0;
  const boosting = thrusting && (buttons & BOOST) !== 0 && ship.energy >= rules.boost_energy;
  const energy = boosting
    ? f(ship.energy - rules.boost_energy)
    : f(ship.energy + rules.regain_energy);
  ship.energy = Math.min(energy, rules.max_energy);
  ship.boosting = boosting;

  const dv = boosting ? rules.boost_dv : thrusting ? rules.thrust_dv : 0;
  const index = direction * (DIRECTION_COUNT / 256);
  ship.vx = f(f(ship.vx + f(DIRECTION_X[index] * dv)) * rules.drag);
  ship.vy = f(f(ship.vy + f(DIRECTION_Y[index] * dv)) * rules.drag);

  const x = f(ship.x + f(ship.vx * rules.dt));
  if (x < rules.low || x > rules.high) ship.vx = f(-ship.vx * rules.bounce);
  ship.x = Math.min(Math.max(x, rules.low), rules.high);

  const y = f(ship.y + f(ship.vy * rules.dt));
  if (y < rules.low || y > rules.high) ship.vy = f(-ship.vy * rules.bounce);
  ship.y = Math.min(Math.max(y, rules.low), rules.high);
}
