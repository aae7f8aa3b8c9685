// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

/// @title IEnergyToken: energy as a token, 1e18 units = 1 kWh, so 1e15 units = 1 Wh
interface IEnergyToken {
    /// @notice What a certificate says
    /// @param timestamp UTC second in which the production interval began
    /// @param amount energy in token units, whole Wh
    /// @param sourceType technology, see `libraries/Sources.sol`
    /// @param carbonCredits grams of CO2-equivalent that the source avoided, see `libraries/Sources.sol`
    struct EnergyUnit {
        uint256 timestamp;
        uint256 amount;
        uint8 sourceType;
        uint256 carbonCredits;
    }

    /// @notice Mint what a producer's meter gave to the grid in the interval that ended last
    /// @dev Oracle only. Never more than the meter's registered export limit x the interval, in
    /// one or several calls, and not for an interval that a settlement has already minted. The producer
    /// gets the certificate too. Storage that is minted here is of unknown origin.
    /// @param producer account of the meter
    /// @param amount token units, whole Wh
    /// @param sourceType technology, see `libraries/Sources.sol`
    /// @return tokenId the certificate: the id is its own content, see `types/Certificate.sol`
    function mintEnergyTokens(address producer, uint256 amount, uint8 sourceType)
        external
        returns (uint256 tokenId);

    /// @notice Mint what a producer's storage gave back to the grid in the interval that ended last
    /// @dev Oracle only, within the same limits as `mintEnergyTokens`. The certificates that it was
    /// charged with are used up; the producer has allowed the token to do so in `ICertificates`. What
    /// was charged was consumption, and burned as such.
    /// @param producer account of the meter
    /// @param amount token units, whole Wh, at most what was charged
    /// @param ids the producer's certificates that the storage was charged with
    /// @param energiesWh how much of each, in Wh
    /// @return tokenId the certificate, which carries the mix of what was charged
    function mintStoredEnergy(
        address producer,
        uint256 amount,
        uint256[] calldata ids,
        uint256[] calldata energiesWh
    ) external returns (uint256 tokenId);

    /// @notice Burn energy that a consumer has used
    /// @dev By the consumer, or by a spender with its allowance. A consumer that may not send, and
    /// what is frozen, burn nothing.
    /// @param consumer account that gives the tokens up
    /// @param amount token units, whole Wh
    function burnEnergyTokens(address consumer, uint256 amount) external returns (bool);

    /// @notice Move energy between accounts
    /// @dev By the owner, or by a spender with its allowance, where compliance allows it.
    function transferEnergy(address from, address to, uint256 amount) external returns (bool);
}
