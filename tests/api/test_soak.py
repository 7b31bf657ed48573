# SPDX-License-Identifier: MIT
"""Some seconds of what ./bench soak does for half an hour. Whether a frame is missing only that one judges: it has
the time to see it, and a machine of its own."""
import pytest

from soak import Soak


@pytest.mark.ordinary
def test_everything_at_once(tmp_path):
    soak = Soak(tmp_path, 1)
    try:
        soak.run(20)
        soak.check()
        assert max(soak.memory) < 16
    finally:
        print(dict(soak.counts))
        soak.close()
