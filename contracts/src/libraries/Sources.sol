// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

/// @title Sources: technologies of production and what they avoid
/// @dev Lifecycle emissions in g CO2-equivalent per kWh: medians of IPCC AR5 WG III (2014),
/// Annex III, Table A.III.2: rooftop solar 41, onshore wind 12 (rounded up from 11), hydropower 24,
/// dedicated biomass 230; natural gas (combined cycle) 490, which is what a local kWh replaces here.
library Sources {
    uint8 internal constant SOLAR = 1;
    uint8 internal constant WIND = 2;
    uint8 internal constant HYDRO = 3;
    uint8 internal constant BIOMASS = 4;
    uint8 internal constant STORAGE = 5;

    uint256 private constant _REPLACED_G_PER_KWH = 490;

    function isKnown(uint8 source) internal pure returns (bool) {
        return source >= SOLAR && source <= STORAGE;
    }

    /// @dev Grams of CO2-equivalent avoided; none for storage, whose mix is what it was charged with.
    function avoidedG(uint8 source, uint256 energyWh) internal pure returns (uint256) {
        uint256 own = _REPLACED_G_PER_KWH;
        if (source == SOLAR) own = 41;
        else if (source == WIND) own = 12;
        else if (source == HYDRO) own = 24;
        else if (source == BIOMASS) own = 230;
        return energyWh * (_REPLACED_G_PER_KWH - own) / 1000;
    }
}
