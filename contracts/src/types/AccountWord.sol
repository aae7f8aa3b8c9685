// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

/// @dev An account in one word, from the high bits: energy Wh 72, money micro 72, and against replay
/// epoch 16 and used intervals 96.
type AccountWord is uint256;

using AccountWordLibrary for AccountWord global;

/// @title AccountWordLibrary: packing and unpacking of an account
library AccountWordLibrary {
    uint256 internal constant BALANCE_MAX = type(uint72).max;
    uint256 internal constant EPOCH_MAX = type(uint16).max;
    uint256 internal constant INTERVALS = 96;

    /// @dev The caller has checked that the balances are at most `BALANCE_MAX`.
    function pack(uint256 energy, uint256 money, uint256 replayPart)
        internal
        pure
        returns (AccountWord)
    {
        return AccountWord.wrap(energy << 184 | money << 112 | replayPart);
    }

    function energyWh(AccountWord word) internal pure returns (uint256) {
        return AccountWord.unwrap(word) >> 184;
    }

    function moneyMicro(AccountWord word) internal pure returns (uint256) {
        return uint72(AccountWord.unwrap(word) >> 112);
    }

    /// @dev Epoch and used intervals together: the low 112 bits.
    function replay(AccountWord word) internal pure returns (uint256) {
        return uint112(AccountWord.unwrap(word));
    }

    function epoch(AccountWord word) internal pure returns (uint256) {
        return uint16(AccountWord.unwrap(word) >> INTERVALS);
    }

    function usedIntervals(AccountWord word) internal pure returns (uint256) {
        return uint96(AccountWord.unwrap(word));
    }
}
