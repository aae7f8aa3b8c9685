// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

/// @title IP2PTrading: trading without a coordinator, through escrow
interface IP2PTrading {
    /// @notice One trade
    /// @param seller account that gives energy
    /// @param buyer account that pays, zero until matched
    /// @param amount energy in token units (1e18 = 1 kWh), whole Wh
    /// @param price smallest currency units per kWh
    /// @param timestamp UTC second of the match, of the offer while unmatched
    /// @param completed true once energy and payment have changed hands
    struct EnergyTrade {
        address seller;
        address buyer;
        uint256 amount;
        uint256 price;
        uint256 timestamp;
        bool completed;
    }

    /// @notice Offer energy; the tokens go into escrow
    /// @dev Needs the seller's allowance on the energy token. A seller without a registered meter can
    /// sell too, but the trade then needs both parties' word to settle.
    /// @param amount token units, whole Wh
    /// @param price smallest currency units per kWh
    /// @param validityPeriod seconds for which the offer stands
    /// @return orderId also the id of the trade that a match makes of it
    function createSellOrder(uint256 amount, uint256 price, uint256 validityPeriod)
        external
        returns (uint256 orderId);

    /// @notice Take an offer whole; the payment goes into escrow
    /// @dev Token market: needs the buyer's allowance and no value. Native market: exact value.
    function matchOrder(uint256 orderId) external payable returns (bool);

    /// @notice Exchange energy and payment
    /// @dev At once when the seller's meter has shown the delivery since the match, else when both
    /// parties have called.
    function settleTrade(uint256 tradeId) external;
}
