from soxs_recipes.cascade.report import _brightest_position


def product(name, snr=None):
    return {"name": name, "tag": "", "status": "COMPLETE", "qc": {} if snr is None else {"ESO QC SNR MEDIAN": snr}}


def test_of_a_map_the_position_where_the_target_is_seen_best_stands_in_the_table():
    result = {
        "folder": "x",
        "products": [
            product("20260302T020250_VIS_SCI_MAP_M83.fits"),
            product("20260302T020250_VIS_SCI_SLIT_MERGE1D_M83.fits", 3.0),
            product("20260302T021830_VIS_SCI_SLIT_TRACE.fits"),
            product("20260302T021830_VIS_SCI_SLIT_MERGE1D_M83.fits", 11.0),
            product("20260302T024950_VIS_SCI_SLIT_MERGE1D_M83.fits", 8.0),
        ],
        "texts": ["20260302T021830_VIS_SCI_SLIT_MERGE1D_M83.txt", "20260302T024950_VIS_SCI_SLIT_MERGE1D_M83.txt"],
    }
    best = _brightest_position(result)
    assert [one["name"][:15] for one in best["products"]] == ["20260302T021830"] * 2
    assert best["texts"] == result["texts"][:1]
    assert len(result["products"]) == 5
    assert _brightest_position(result | {"products": result["products"][:1]})["texts"] == result["texts"]
