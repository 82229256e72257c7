"""An operator moves a room to another node, and drains a node, from the admin page."""

from __future__ import annotations

import urllib.error
import urllib.request

from tests.admin_client import ACT, Api
from tests.cluster import Cluster, wait_for
from tests.lobby_client import Player, api, joined


def ready(node) -> int:
    try:
        with urllib.request.urlopen(f"{node.page}readyz", timeout=5) as response:
            return response.status
    except urllib.error.HTTPError as error:
        return error.code


def test_a_room_is_moved_with_its_player_and_a_node_is_drained():
    with Cluster(2, ADMIN_TOKEN=ACT) as cluster:
        about = {"key": "to be moved", "name": "Wanderer", "public": True}
        room = api(cluster.page, "POST", "/api/rooms", about)[1]["room"]
        ada = joined(cluster.page, "Ada", room=room)
        ada.see()
        here = cluster.node_of(room)
        there = cluster.other(here)
        assert Api(here).act("move", room=room) == f"Room {room} has moved."
        ada.listen(lambda: ada.code is not None)
        assert ada.code == 1012 and room in ada.notices[-1][-1], "it is told where the room is"
        ada = Player(ada.notices[-1][-1], "Ada", token=ada.welcome["token"])
        ada.see()
        shown = Api(there).look(room)["room"]
        assert shown["title"] == "Wanderer" and [s["name"] for s in shown["sessions"]] == ["Ada"]
        assert Api(here).look(room)["room"] is None
        assert Api(there).act("drain") == "The node is draining."
        ada.listen(lambda: ada.code is not None)
        assert ada.code == 1012
        wait_for(lambda: ready(there) == 503)
        assert Api(there).look()["machine"]["draining"]
