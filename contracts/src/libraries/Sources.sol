// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

/// @title Sources: technologies of production and what they avoid
/// @dev Lifecycle emissions in g CO2-equivalent per kWh: medians of IPCC AR5 WG III (2014),
/// Annex III, Table A.III.2: rooftop solar 41, wind 12 (offshore; onshore is 11, and the code does
/// not tell them apart), hydropower 24, dedicated biomass 230; natural gas (combined cycle) 490, which
/// is what a local kWh replaces here.
library Sources {
    uint8 internal constant SOLAR = 1;
    uint8 internal constant WIND = 2;
    uint8 internal constant HYDRO = 3;
    uint8 internal constant BIOMASS = 4;
    /// @dev Storage. What it was charged with is its certificate's `Mix`; where that is not known, it
    /// stands for energy of unknown origin.
    uint8 internal constant STORAGE = 5;

    uint256 private constant _REPLACED_G_PER_KWH = 490;
    uint256 private constant _SOLAR_G_PER_KWH = 41;
    uint256 private constant _WIND_G_PER_KWH = 12;
    uint256 private constant _HYDRO_G_PER_KWH = 24;
    uint256 private constant _BIOMASS_G_PER_KWH = 230;

    function isKnown(uint8 source) internal pure returns (bool) {
        return source >= SOLAR && source <= STORAGE;
    }

    /// @dev Grams of CO2-equivalent that a kWh avoids, so that Wh times this are milligrams; none for
    /// energy of unknown origin.
    function avoidedGPerKwh(uint8 source) internal pure returns (uint256) {
        if (source == SOLAR) return _REPLACED_G_PER_KWH - _SOLAR_G_PER_KWH;
        if (source == WIND) return _REPLACED_G_PER_KWH - _WIND_G_PER_KWH;
        if (source == HYDRO) return _REPLACED_G_PER_KWH - _HYDRO_G_PER_KWH;
        if (source == BIOMASS) return _REPLACED_G_PER_KWH - _BIOMASS_G_PER_KWH;
        return 0;
    }
}
