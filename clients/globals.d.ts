// What pages put on `window`, for tests and the curious; `make lint` checks the clients with it.
interface Window {
  tickstorm?: any;
}
